"""imgreg train DATA"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from imgreg.cli.flags import tensorboard_option, training_options
from imgreg.cli.layout import GroupedCommand
from imgreg.cli.options import curve_options, folds_option, recipe_option, sanity_option, settings_options
from imgreg.config import CurveStyle
from imgreg.recipes.settings import build_settings


@click.command("train", cls=GroupedCommand)
@click.argument("data", type=click.Path(path_type=Path))
@recipe_option(default="regularized", says="How to build and train the head.")
@sanity_option
@folds_option
@settings_options
@curve_options
@tensorboard_option
@training_options
def command(
    data: Path,
    recipe: str,
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
    """Train a regularized head on a folder of photos.

    DATA contains one folder of photos per class, or train/ and val/ (and optionally test/) with those inside, or is a
    CSV file with the columns path,label[,split]. It is never written to. The run gets its own folder under models/,
    with the curves, a report, the trained head and the history of every epoch.

    \b
    Example:
      imgreg train data/
      imgreg train data/ --epochs 50 --dropout 0.5 --set head.units=[64,64] --name first-try
    """
    from imgreg.cli.progress import watching
    from imgreg.cli.show import print_json, print_result

    settings = build_settings(recipe, options)
    with watching(quiet=quiet, verbose=verbose) as watcher:
        from imgreg.api.train import train

        summary = train(
            data,
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
    if as_json:
        print_json(summary.model_dump(mode="json"))
    elif not quiet:
        from imgreg.reports.terminal.runs import run_text

        print_result(run_text(summary))


def typed_command() -> str:
    """The command as it was typed, for the record."""
    return shlex.join(["imgreg", *sys.argv[1:]])
