"""What goes to the terminal: progress and warnings on stderr, results on stdout.

rich is imported when something of it is shown: predict, whose answers need none, starts a tenth of a second sooner.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from imgreg.cli.stopping import stop_if_asked
from imgreg.reports.text import visible
from imgreg.workflows.watch import Watcher

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.progress import Progress, TaskID

    from imgreg.workflows.study import Study


def print_json(document: Any) -> None:
    """One JSON document, one line, ASCII: safe for any terminal and any file name."""
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")


def print_result(renderable: RenderableType) -> None:
    """A result for people; 80 columns wide where it goes into a file or a pipe."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=80)
    console.print(renderable, crop=False)  # a path is never cut


def print_study(done: Study, *, as_json: bool, quiet: bool) -> None:
    """A finished study, as study and compare --repeats print it."""
    if as_json:
        from imgreg.workflows.study import study_document

        print_json(study_document(done))
    elif not quiet:
        from imgreg.reports.terminal.repeats import study_text

        print_result(
            study_text(done.table, answer=done.answer, notes=done.notes, controls=done.controls, folder=done.folder)
        )


@contextmanager
def watching(*, quiet: bool, verbose: bool) -> Iterator[Watcher]:
    """Progress bars on stderr where it is a terminal; warnings always."""
    shown: list[Progress] = []  # the bars, once there is something to show
    tasks: dict[str, TaskID] = {}

    def step(stage: str, done: int, total: int, note: str) -> None:
        stop_if_asked()
        if quiet or not sys.stderr.isatty():
            return
        if not shown:
            shown.append(stack.enter_context(_progress()))
        if stage not in tasks:
            tasks[stage] = shown[0].add_task(stage, total=total or None, note=note)
        shown[0].update(tasks[stage], completed=done, total=total or None, note=note)

    def say(line: str) -> None:
        text = f"imgreg: {visible(line)}"
        if shown:
            from rich.text import Text

            shown[0].console.print(Text(text), soft_wrap=True)
        else:
            click.echo(text, err=True)

    with ExitStack() as stack:
        yield Watcher(say=say, tell=say if verbose else lambda _: None, step=step)


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True, highlight=False),
    )
