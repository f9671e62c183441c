"""Options that several commands share and that need nothing of imgreg: predict starts without the settings' tables."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
Result = Callable[[], Any]
Printed = tuple[Result, Result] | tuple[Result, Result, int]  # makes the JSON document, makes the text; the exit code

json_option = click.option("--json", "as_json", is_flag=True, help="Print only one JSON document on stdout.")
models_option = click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("models"),
    show_default=True,
    help="Folder that holds the runs.",
)


def _bytes(_context: click.Context, _parameter: click.Parameter, gigabytes: float | None) -> int | None:
    return None if gigabytes is None else round(gigabytes * 1e9)


cache_size_option = click.option(
    "--cache-size",
    "cache_bytes",
    type=click.FloatRange(min=0),
    metavar="GB",
    callback=_bytes,
    help="Maximum size of the feature cache, 20 unless given; least recently used features are evicted first.",
)
resume_option = click.option(
    "--resume/--no-resume",
    default=None,
    help="Resume an interrupted training of the same photos and settings, or start over; the head is bit-"
    "identical either way.  [default: resume if possible]",
)


def _workers(_context: click.Context, _parameter: click.Parameter, text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise click.BadParameter(f"found {text!r}, expected auto or a number from 1.")
    return int(text)


ray_option = click.option(
    "--ray",
    metavar="auto|HOST:PORT|ray://HOST:10001|local",
    help="Compute features and train heads on a Ray cluster: the one of this machine (auto), the one at an address, or "
    "a new one here (local). All machines need the photos and IMGREG_CACHE in the same place, or in an object store.",
)


def workers_option(function: F) -> F:
    """--workers and --ray, of the commands that train many heads."""
    workers = click.option(
        "--workers",
        metavar="auto|N",
        default="auto",
        show_default=True,
        callback=_workers,
        help="Processes that train heads at the same time. auto: one per core, as far as memory allows, once more than "
        "20 s of training is left; with --ray one per CPU of the cluster. The results are bit-identical either way.",
    )
    decorated: F = workers(ray_option(function))
    return decorated


name_option = click.option(
    "--name",
    metavar="NAME",
    help="Name of the folder under models/.  [default: made from the time]",
)
quiet_option = click.option(
    "-q", "--quiet", is_flag=True, help="Hide progress and summary; print only warnings and errors."
)


vote_option = click.option(
    "--vote",
    type=click.Choice(["mean", "majority"]),
    help="How to combine several runs: mean of their probabilities, or majority vote (ties go to the mean).  "
    "[default: mean]",
)
mirror_option = click.option(
    "--mirror/--no-mirror",
    default=None,
    help="Average over each photo and its mirror image, or not, which halves the time.  [default: as trained]",
)


tensorboard_option = click.option(
    "--tensorboard",
    is_flag=True,
    help="Also write event files while training, to view with tensorboard --logdir models: curves, the head's graph, "
    "histograms of its weights and outputs.",
)


def result_options(function: F) -> F:
    """--json, -q and -v: the command gets `watcher`, whose progress is shown while it runs.

    It returns what is to be printed.
    """

    @functools.wraps(function)
    def with_watcher(*args: Any, **options: Any) -> None:
        from imgreg.cli.progress import watching
        from imgreg.cli.show import print_json, print_result

        as_json, quiet, verbose = (options.pop(name) for name in ("as_json", "quiet", "verbose"))
        with watching(quiet=quiet, verbose=verbose) as watcher:
            document, text, *code = function(*args, watcher=watcher, **options)
        if as_json:
            print_json(document())
        elif not quiet:
            print_result(text())
        if code:
            click.get_current_context().exit(*code)

    return json_option(verbosity_options(with_watcher))  # type: ignore[return-value]


def verbosity_options(function: F) -> F:
    """-q and -v."""
    verbose = click.option("-v", "--verbose", is_flag=True, help="Print more, such as the name of every skipped file.")
    decorated: F = quiet_option(verbose(function))
    return decorated
