"""Progress in a notebook or on a terminal; lines that a user must see go to the logger `imgreg`.

In: whether to show anything. Out: a Watcher for the commands. Knows nothing of what they compute.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from imgreg.progress import Watcher

if TYPE_CHECKING:
    from imgreg.runs.history import Epoch

LOGGER = logging.getLogger("imgreg")
_REDRAW_SECONDS = 0.2


@contextmanager
def watching(*, progress: bool) -> Iterator[Watcher]:
    """Show what a workflow is doing while the block runs: HTML bars in a notebook, bars on a terminal."""
    show = _notebook() if progress else None
    if show is not None:
        yield _with_warnings(show)
    elif progress and sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True, highlight=False)) as bars:
            yield _with_warnings(_TerminalBars(bars))
    else:
        yield Watcher(say=LOGGER.warning, note=LOGGER.info, tell=LOGGER.info)


def _with_warnings(show: _NotebookBars | _TerminalBars) -> Watcher:
    return Watcher(say=LOGGER.warning, note=LOGGER.info, tell=LOGGER.info, step=show.step, epoch=show.epoch)


def _notebook() -> _NotebookBars | None:
    """Bars in the running notebook; None outside one."""
    if "IPython" not in sys.modules:
        return None
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return _NotebookBars() if shell is not None and hasattr(shell, "kernel") else None


class _TerminalBars:
    def __init__(self, bars: Any) -> None:
        self._bars, self._tasks = bars, {}  # type: ignore[var-annotated]

    def step(self, stage: str, done: int, total: int, note: str) -> None:  # noqa: ARG002
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total or None)
        self._bars.update(self._tasks[stage], completed=done, total=total or None)

    def epoch(self, recipe: str, row: Epoch) -> None:
        pass


class _NotebookBars:
    """One display that is redrawn: a line for each stage, and the losses of the last epoch."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self._html = HTML
        self._stages: dict[str, tuple[int, int]] = {}
        self._losses: dict[str, str] = {}
        self._drawn = 0.0
        self._display = display(HTML(""), display_id=True)

    def step(self, stage: str, done: int, total: int, note: str) -> None:  # noqa: ARG002
        self._stages[stage] = (done, total)
        now = time.monotonic()
        if now - self._drawn >= _REDRAW_SECONDS or done == total:
            self._drawn = now
            self._display.update(self._html(progress_html(self._stages, self._losses)))

    def epoch(self, recipe: str, row: Epoch) -> None:
        self._losses[recipe] = f"epoch {row.epoch}: train loss {row.train_loss:.3f}, validation loss {row.val_loss:.3f}"


def progress_html(stages: dict[str, tuple[int, int]], losses: dict[str, str]) -> str:
    """The state of a workflow as HTML.

    >>> progress_html({"reading photos": (3, 4)}, {}).count("<progress")
    1
    """
    rows = [
        f'<tr><td style="text-align:left">{escape(stage)}</td>'
        f'<td><progress value="{done}" max="{max(total, 1)}"></progress></td>'
        f'<td style="text-align:left">{done}{f" / {total}" if total else ""}</td></tr>'
        for stage, (done, total) in stages.items()
    ]
    lines = [f"<div>{escape(recipe)}: {escape(text)}</div>" for recipe, text in losses.items()]
    return f"<table>{''.join(rows)}</table>{''.join(lines)}"
