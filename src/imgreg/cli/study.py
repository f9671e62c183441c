"""imgreg study DATA"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imgreg.cli.flags import training_options
from imgreg.cli.layout import GroupedCommand
from imgreg.cli.options import (
    curve_options,
    repeats_options,
    sanity_option,
    settings_options,
)
from imgreg.config import CurveStyle
from imgreg.recipes.settings import build_settings, recipe_overrides, with_recipe


@click.command("study", cls=GroupedCommand)
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--topic",
    "topics",
    metavar="A,B,...",
    default="ladder",
    show_default=True,
    help="What to compare: ladder (regularization techniques added one by one), capacity, weights, dropout, "
    "normalization, initializer, activation, schedule, augmentation, all.",
)
@repeats_options(default=5)
@curve_options
@sanity_option
@settings_options
@training_options
def command(
    data: Path,
    topics: str,
    repeats: int,
    folds: int | None,
    style: CurveStyle | None,
    name: str | None,
    models: Path,
    cache_bytes: int | None,
    resume: bool | None,
    sanity_baselines: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Compare regularization techniques on your photos: what helps, and how sure is it?

    Trains every recipe on the same repeated splits as the control, plain; the epoch is chosen on validation photos and
    scored on test photos. Features are computed only once. An interrupted study resumes when the same command is run
    again. Writes a ranked table, forest.png (paired effects with 95 % intervals), curves.png and report.html to a
    folder under models/.

    \b
    Example:
      imgreg study data/
      imgreg study data/ --topic weights,dropout --repeats 10 --epochs 50
      imgreg study data/ --topic all --json > study.json
    """
    from imgreg.cli.progress import watching
    from imgreg.cli.show import print_study

    with watching(quiet=quiet, verbose=verbose) as watcher:
        from imgreg.api.study import study
        from imgreg.cli.train import typed_command
        from imgreg.recipes.topics import CONTROL, load_topics

        first = build_settings(CONTROL, options, ranges_where_augmented=True)
        chosen = load_topics(
            [part.strip() for part in topics.split(",") if part.strip()], overrides=recipe_overrides(options)
        )
        done = study(
            data,
            settings=[first, *(with_recipe(first, recipe) for recipe in chosen.recipes)],
            derived=chosen.derived,
            groups=chosen.groups,
            repeats=repeats,
            folds=folds or 0,
            style=style,
            models=models,
            name=name,
            command=typed_command(),
            cache_bytes=cache_bytes,
            resume=resume,
            sanity_baselines=sanity_baselines,
            watcher=watcher,
        )
    print_study(done, as_json=as_json, quiet=quiet)
