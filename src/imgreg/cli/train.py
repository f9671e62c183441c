"""imgreg train DATA"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from imgreg.cli.flags import Printed, tensorboard_option
from imgreg.cli.layout import GroupedCommand
from imgreg.cli.options import (
    curve_options,
    folds_option,
    recipe_option,
    sanity_option,
    session_options,
    settings_options,
)
from imgreg.recipes.settings import build_settings
from imgreg.session import Session


@click.command("train", cls=GroupedCommand)
@click.argument("data", type=click.Path(path_type=Path))
@recipe_option(default="regularized", says="How to build and train the head.")
@sanity_option
@folds_option
@settings_options
@curve_options
@tensorboard_option
@session_options
def command(
    data: Path,
    recipe: str,
    sanity_baselines: tuple[str, ...],
    tensorboard: bool,
    session: Session,
    **options: Any,
) -> Printed:
    """Train a regularized head on a folder of photos.

    DATA contains one folder of photos per class, or train/ and val/ (and optionally test/) with those inside, or tar or
    Parquet files, or is a CSV or JSON Lines file with path,label[,split], or the address of any of these in an object
    store (s3://, gs://, az://). It is never written to. The run gets its own folder under models/, with the curves, a
    report, the trained head and the history of every epoch.

    \b
    Example:
      imgreg train data/
      imgreg train data/ --epochs 50 --dropout 0.5 --set head.units=[64,64] --name first-try
    """
    from imgreg.api.train import train
    from imgreg.reports.terminal.runs import run_text

    summary = train(
        data,
        settings=build_settings(recipe, options),
        session=session,
        sanity_baselines=sanity_baselines,
        tensorboard=tensorboard,
    )
    return lambda: summary.model_dump(mode="json"), lambda: run_text(
        summary, printed=session.watcher.printed, typed=shlex.split(session.command)
    )
