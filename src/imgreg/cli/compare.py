"""imgreg compare DATA, imgreg compare RUN RUN ..."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imgreg.cli.flags import tensorboard_option, training_options
from imgreg.cli.layout import GroupedCommand
from imgreg.cli.options import (
    COMPARED,
    curve_options,
    folds_option,
    given_flags,
    repeats_option,
    sanity_option,
    settings_options,
)
from imgreg.config import CHEAP_BASELINES, CurveStyle
from imgreg.errors import UsageError
from imgreg.recipes.settings import build_settings


@click.command("compare", cls=GroupedCommand)
@click.argument("targets", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DATA | RUN RUN...")
@click.option(
    "--recipes",
    metavar="A,B,...",
    help=f"Recipes to compare; the first is the control.  [default: {','.join(COMPARED)}]",
)
@repeats_option(default=None)
@folds_option
@sanity_option
@settings_options
@curve_options
@tensorboard_option
@training_options
def command(
    targets: tuple[Path, ...],
    recipes: str | None,
    repeats: int | None,
    folds: int | None,
    name: str | None,
    models: Path,
    cache_bytes: int | None,
    resume: bool | None,
    sanity_baselines: tuple[str, ...],
    tensorboard: bool,
    style: CurveStyle | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Train with and without regularization and compare the curves.

    With one DATA folder, trains each recipe on the same split or folds, seed and features. With two or more RUN
    folders, compares finished runs. Writes report.html, its figures as PNG and SVG (one colour per run; solid: train,
    dashed: validation) and a table to a folder under models/.

    With --repeats, every recipe is trained on many splits, as in imgreg study, and paired differences with confidence
    intervals show which recipes helped; no runs are saved. With --folds as well, each repeat tests every photo once.

    \b
    Example:
      imgreg compare data/
      imgreg compare data/ --recipes plain,regularized,mine.toml --epochs 50
      imgreg compare data/ --recipes plain,dropout,l2 --repeats 10
      imgreg compare models/20261120-101500-plain models/20261120-102000-regularized
    """
    from imgreg.cli.progress import watching
    from imgreg.cli.show import print_json, print_result, print_study

    with watching(quiet=quiet, verbose=verbose) as watcher:
        from imgreg.api.compare import compare, compare_runs, comparison_document

        done = None
        if len(targets) > 1 or (targets[0] / "model.json").is_file():
            if given := given_flags(
                {
                    "recipes": recipes,
                    "repeats": repeats,
                    "folds": folds,
                    "cache_size": cache_bytes,
                    "resume": resume,
                    "no_resume": resume is False,
                    "tensorboard": tensorboard,
                    "sanity_baselines": None if sanity_baselines == CHEAP_BASELINES else sanity_baselines or "none",
                    **options,
                }
            ):
                raise UsageError(
                    f"{', '.join(given)}: no effect on finished runs. Give one photo folder to train on, or only runs."
                )
            comparison = compare_runs(targets, models=models, name=name, style=style, watcher=watcher)
        else:
            from imgreg.cli.train import typed_command

            names = [part.strip() for part in (recipes or ",".join(COMPARED)).split(",") if part.strip()]
            split = options if repeats is not None else options | {"folds": folds}
            settings = [build_settings(one, split, ranges_where_augmented=True) for one in names]
            ranges = options["views"] is not None or any(o.startswith("augmentation.") for o in options["overrides"])
            if ranges and not any(one.recipe.n_views for one in settings):
                raise UsageError(
                    "--views and --set augmentation... have no effect: none of the recipes uses augmentation. Omit "
                    "them, or add --augment."
                )
            if repeats is not None:
                if tensorboard:
                    raise UsageError("--tensorboard has no effect with --repeats, which saves no runs.")
                if folds == 1:
                    raise UsageError("--folds 1: expected 2 or more.")
                from imgreg.api.study import study

                done = study(
                    targets[0],
                    settings=settings,
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
            else:
                comparison = compare(
                    targets[0],
                    settings=settings,
                    models=models,
                    name=name,
                    command=typed_command(),
                    cache_bytes=cache_bytes,
                    resume=resume,
                    sanity_baselines=sanity_baselines,
                    tensorboard=tensorboard,
                    style=style,
                    watcher=watcher,
                )
    if done is not None:
        print_study(done, as_json=as_json, quiet=quiet)
    elif as_json:
        print_json(comparison_document(comparison))
    elif not quiet:
        from imgreg.reports.terminal.runs import comparison_text

        print_result(
            comparison_text(
                comparison.rows,
                warnings=comparison.warnings,
                against_baselines=comparison.against_baselines,
                effects=comparison.effects,
                folder=comparison.folder,
            )
        )
