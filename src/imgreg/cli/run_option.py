"""How commands take a run: a name under models/, a path, or last; without one, the newest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from imgreg.errors import UsageError
from imgreg.progress import Watcher

run_option = click.option(
    "--run",
    type=click.Path(path_type=Path),
    metavar="NAME|PATH|last",
    help="Run: its name under models/, its path, or last.  [default: the newest under models/]",
)
runs_option = click.option(
    "--run",
    "runs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="NAME|PATH|last",
    help="Run: its name under models/, its path, or last; repeat for a voting ensemble.  [default: the newest under "
    "models/]",
)
run_argument = click.argument("named", required=False, type=click.Path(path_type=Path), metavar="[RUN]")


def chosen_runs(named: Sequence[Path], *, models: Path, watcher: Watcher) -> tuple[Path, ...]:
    """Folders of the runs named, or of the newest, which is then reported. raises UsageError"""
    from imgreg.runs.find import find_run, newest_run

    if named:
        return tuple(find_run(one, models=models) for one in named)
    newest = newest_run(models)
    watcher.note(f"using the newest run, {newest}")
    return (newest,)


def one_of(named: Path | None, run: Path | None) -> tuple[Path, ...]:
    """A run given as an argument or by --run. raises UsageError where it is given by both"""
    if named is not None and run is not None:
        raise UsageError(f"found two runs, {named} and --run {run}, expected one. Omit one.")
    return tuple(one for one in (named, run) if one is not None)
