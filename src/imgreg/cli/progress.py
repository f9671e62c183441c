"""What a command is doing, on stderr: bars and a small curve on a terminal, a plain line now and then elsewhere.

rich is imported when something of it is shown: predict, whose answers need none, starts a tenth of a second sooner.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

from imgreg.cli.show import wrapped
from imgreg.cli.stopping import stop_if_asked
from imgreg.progress import Watcher
from imgreg.reports.text import one_line, sparkline, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from imgreg.runs.history import Epoch

PLAIN_SECONDS = 10.0  # between two plain lines
CURVES = 3  # trainings whose curves are shown at once
CURVE_COLUMNS = 44
RATES = {
    "reading photos": "photos/s",
    "computing features": "views/s",
    "predicting": "photos/s",
    "explaining": "photos/s",
}


@contextmanager
def watching(*, quiet: bool, verbose: bool) -> Iterator[Watcher]:
    """Show messages and progress on stderr: warnings always, progress unless quiet."""
    on_terminal = sys.stderr.isatty()
    shown: list[Progress] = []  # the bars, once there is something to show
    curves: dict[str, list[Epoch]] = {}
    began: dict[str, tuple[float, int]] = {}  # when, and what was done by then
    reached: dict[str, int] = {}  # what was done at the last step
    printed: set[str] = set()
    said: set[str] = set()  # a comparison's runs may give the same warning
    last_line = time.monotonic()

    def step(stage: str, done: int, total: int, note: str) -> None:
        nonlocal last_line
        stop_if_asked()
        if quiet:
            return
        now = time.monotonic()
        starts_again = done < reached.get(stage, 0)  # for the next recipe, or another layer
        if starts_again or stage not in began:
            began[stage] = now, done
        reached[stage] = done
        started, done_before = began[stage]
        rate = (done - done_before) / (now - started) if now > started else 0.0
        if stage in RATES and rate and done:
            note = f"{rate:.1f} {RATES[stage]} {note}".rstrip()
        if on_terminal:
            if not shown:
                from rich.console import Console

                shown.append(stack.enter_context(_bars(curves, Console(stderr=True, highlight=False))))
            _show(shown[0], stage, done, total, note, starts_again=starts_again)
        elif total != 1 and now - last_line >= PLAIN_SECONDS:
            last_line = now
            left = f", about {(total - done) / rate:.0f} s left" if rate and total > done else ""
            of = f"{done} of {total}" if total else str(done)
            click.echo(f"imgreg: {visible(stage)}: {of}{left}{f' ({note})' if note else ''}", err=True)

    def epoch(recipe: str, row: Epoch) -> None:
        curves.setdefault(recipe, []).append(row)

    def say(line: str) -> None:
        text = f"imgreg: {visible(line)}"
        if text in said:
            return
        said.add(text)
        if on_terminal and sys.stdout.isatty():
            printed.add(line)
        if on_terminal:
            text = wrapped(text)
        if shown:
            from rich.text import Text

            shown[0].console.print(Text(text), soft_wrap=True)
        else:
            click.echo(text, err=True)

    with ExitStack() as stack:
        note, tell = (say if shown_too else _ignored for shown_too in (not quiet, verbose))
        yield Watcher(say=say, note=note, tell=tell, step=step, epoch=epoch, printed=printed)


def _ignored(_: str) -> None:
    pass


def curve_lines(curves: dict[str, list[Epoch]], *, n_columns: int = 80) -> list[str]:
    """Both losses of the last trainings as small curves, on one scale each, with the last value."""
    lines, shown = [], max(min(CURVE_COLUMNS, n_columns - 32), 2)
    for recipe, rows in list(curves.items())[-CURVES:]:
        train, val = [row.train_loss for row in rows], [row.val_loss for row in rows]
        top = max(train + val)
        for side, losses in (("train", train), ("val.", val)):
            name = f"{one_line(recipe, limit=14)} {side}"
            lines.append(f"  {name:<20} {losses[-1]:7.3f}  {sparkline(losses, top=top, n_columns=shown)}")
    return lines


def _show(bars: Progress, stage: str, done: int, total: int, note: str, *, starts_again: bool) -> None:
    known = {task.description: task.id for task in bars.tasks}
    if stage not in known:
        known[stage] = bars.add_task(stage, total=total or None, note=note)
    elif starts_again:
        bars.reset(known[stage])
    bars.update(known[stage], completed=done, total=total or None, note=note)


def _bars(curves: dict[str, list[Epoch]], console: Console) -> Progress:
    from rich.console import RenderableType
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
    from rich.table import Column
    from rich.text import Text

    class Times(ProgressColumn):
        def render(self, task: Task) -> Text:
            passed = _clock(task.finished_time if task.finished else task.elapsed)
            left = "" if task.finished or task.time_remaining is None else f", {_clock(task.time_remaining)} left"
            return Text(f"{passed}{left}")

    class Bars(Progress):
        def get_renderables(self) -> Iterator[RenderableType]:
            yield self.make_tasks_table(self.tasks)
            if lines := curve_lines(curves, n_columns=console.width):
                yield Text("\n".join(lines), no_wrap=True, overflow="crop")

    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=6),
        MofNCompleteColumn(),
        Times(),
        TextColumn(
            "{task.fields[note]}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),  # takes what the others leave
        ),
        console=console,
        expand=True,
        speed_estimate_period=600,  # a head may take minutes
    )


def _clock(seconds: float | None) -> str:
    """Hours are shown where there are any.

    >>> _clock(9.6), _clock(75), _clock(3700), _clock(None)
    ('0:09', '1:15', '1:01:40', '')
    """
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
