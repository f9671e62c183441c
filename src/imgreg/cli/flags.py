"""Options that several commands share and that need nothing of imgreg: predict starts without the settings' tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, nothing else.")
models_option = click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("models"),
    show_default=True,
    help="Folder of the runs.",
)


def _bytes(_context: click.Context, _parameter: click.Parameter, gigabytes: float | None) -> int | None:
    return None if gigabytes is None else round(gigabytes * 1e9)


cache_size_option = click.option(
    "--cache-size",
    "cache_bytes",
    type=click.FloatRange(min=0),
    metavar="GB",
    callback=_bytes,
    help="Room for kept features; beyond it those longest unused go (see imgreg cache).  [default: 20]",
)
resume_option = click.option(
    "--resume/--no-resume",
    default=None,
    help="Go on where an interrupted training of the same photos and settings stood, or train anew; the head is the "
    "same, to the bit.  [default: go on if there is one]",
)
name_option = click.option("--name", help="Name of the run's folder; by default time and recipe.")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress, no summary; warnings and errors only.")


vote_option = click.option(
    "--vote",
    type=click.Choice(["mean", "majority"]),
    help="How several runs answer: by the mean of their probabilities, or the class most of them answer (the mean "
    "among equals).  [default: mean]",
)


tensorboard_option = click.option(
    "--tensorboard",
    is_flag=True,
    help="Write event files too: tensorboard --logdir models shows them.",
)


def training_options(function: F) -> F:
    """What every command that trains takes besides its settings, from --resume to -v."""
    shown: F = json_option(verbosity_options(function))
    decorated: F = resume_option(cache_size_option(name_option(models_option(shown))))
    return decorated


def verbosity_options(function: F) -> F:
    """-q and -v."""
    verbose = click.option("-v", "--verbose", is_flag=True, help="Name every skipped file, however many.")
    decorated: F = quiet_option(verbose(function))
    return decorated
