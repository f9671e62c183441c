"""A classifier's figures on labelled photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgreg.analysis.metrics import Metrics
from imgreg.reports.rows import FIGURE_NAMES
from imgreg.reports.terminal.parts import note_lines, stacked, table_of, text_of
from imgreg.reports.text import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType


def metrics_text(metrics: Metrics, *, notes: Sequence[str] = ()) -> RenderableType:
    """Every figure with its interval, and the confusion."""
    figures = table_of("metric", "", "95 % interval")
    for name, figure in metrics.figures.items():
        figures.add_row(text_of(FIGURE_NAMES[name]), f"{figure.value:.3f}", f"{figure.low:.3f} to {figure.high:.3f}")
    counts = table_of("true class", *(one_line(f"predicted {name}", limit=20) for name in metrics.classes))
    for name, row in zip(metrics.classes, metrics.confusion, strict=True):
        counts.add_row(text_of(one_line(name, limit=20)), *(str(n) for n in row))
    of = f"for {metrics.classes[1]}" if len(metrics.classes) == 2 else "macro averages, one class against the rest"
    return stacked(
        figures,
        text_of(f"{metrics.n_photos} photos. Precision, recall, F1 and AUC: {of}. Losses in nats.", style="dim"),
        text_of(""),
        counts,
        *note_lines(notes),
    )
