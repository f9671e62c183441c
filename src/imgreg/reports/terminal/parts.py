"""What the texts are made of: lines, tables, figures in few columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgreg.reports.text import visible
from imgreg.runs.summary import Baseline, SanityBaseline

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

WIDTH = 80


def stacked(*parts: RenderableType) -> Group:
    """One below the other."""
    from rich.console import Group

    return Group(*parts)


def text_of(text: str, *, style: str = "") -> Text:
    from rich.text import Text

    return Text(visible(text), style=style, overflow="fold")


def table_of(first: str, *others: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False, header_style="")
    table.add_column(first, overflow="fold", min_width=8)
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def report_line(folder: Path) -> Text:
    return line_to_copy("Report: ", str(folder / "report.html"))


def line_to_copy(title: str, text: str) -> Text:
    """Never broken or cut, so that it can be copied."""
    line = text_of(f"{title}{text}")
    line.no_wrap, line.overflow = True, "ignore"
    return line


def answer_lines(answer: Sequence[str]) -> list[RenderableType]:
    """The sentences of an answer, the first in bold."""
    return [text_of(line, style="bold" if number == 0 else "") for number, line in enumerate(answer)]


def note_lines(notes: Iterable[str]) -> list[RenderableType]:
    return [text_of(f"Note: {note}", style="yellow") for note in notes]


def next_command(sentence: str) -> str:
    """The command in a sentence on the next step; empty where there is none.

    >>> next_command("Longer training. Try `imgreg train pets --epochs 30`."), next_command("Add photos.")
    ('imgreg train pets --epochs 30', '')
    """
    found = re.findall(r"`(imgreg [^`]+)`", sentence)
    return str(found[-1]) if found else ""


def sanity_lines(sanity_baselines: Sequence[SanityBaseline], *, on: str) -> list[RenderableType]:
    """A line for all, and one for what shuffled labels showed."""
    if not sanity_baselines:
        return []
    accuracies = ", ".join(f"{one.name} {one.accuracy:.0%}" for one in sanity_baselines)
    return [
        text_of(f"Sanity baselines ({on} accuracy): {accuracies}."),
        *(text_of(one.note) for one in sanity_baselines if one.note),
    ]


def baselines_lines(baselines: Sequence[Baseline]) -> list[RenderableType]:
    """A line with each baseline's loss and accuracy."""
    if not baselines:
        return []
    scores = ", ".join(f"{one.name} {nats(one.loss)} ({percent(one.accuracy)})" for one in baselines)
    return [text_of(f"Baselines (validation loss, accuracy): {scores}.")]


def nats(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 9.9995 else f"{value:.2f}" if abs(value) < 99.995 else f"{value:.0f}"


def percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def short_count(n: int | None) -> str:
    """A large number in few columns.

    >>> [short_count(n) for n in (None, 481, 10_241, 803_329, 2_097_922, 26_300_000)]
    ['–', '481', '10k', '803k', '2.1M', '26M']
    """
    if n is None:
        return "–"
    if n < 9_999.5:
        return str(n)
    return f"{n / 1e3:.0f}k" if n < 999_500 else f"{n / 1e6:.1f}M" if n < 9_950_000 else f"{n / 1e6:.0f}M"
