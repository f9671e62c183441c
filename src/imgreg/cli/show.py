"""What goes to the terminal: progress and warnings on stderr, results on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from imgreg.workflows.watch import Watcher


def print_json(document: Any) -> None:
    """One JSON document, one line, ASCII: safe for any terminal and any file name."""
    sys.stdout.write(json.dumps(document, allow_nan=False) + "\n")


def print_result(renderable: RenderableType) -> None:
    """A result for people; 80 columns wide where it goes into a file or a pipe."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=80)
    console.print(renderable, crop=False)  # a path is never cut


@contextmanager
def watching(*, quiet: bool, verbose: bool) -> Iterator[Watcher]:
    """Progress bars on stderr where it is a terminal; warnings always."""
    console = Console(stderr=True, highlight=False)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        disable=quiet or not console.is_terminal,
    )
    tasks: dict[str, TaskID] = {}

    def step(stage: str, done: int, total: int, note: str) -> None:
        if stage not in tasks:
            tasks[stage] = progress.add_task(stage, total=total or None, note=note)
        progress.update(tasks[stage], completed=done, total=total or None, note=note)

    def say(line: str) -> None:
        shown = line.encode("utf-8", "backslashreplace").decode()
        progress.console.print(Text(f"imgreg: {shown}"), soft_wrap=True)

    with progress:
        yield Watcher(say=say, tell=say if verbose else lambda _: None, step=step)
