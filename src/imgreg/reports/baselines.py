"""One figure: the kept head beside its baselines and controls, each with its interval.

In: a run's summary. Out: a figure with its words. Must not know: how baselines are fitted, what sanity baselines are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgreg.analysis.sanity_baselines import accuracy_interval
from imgreg.reports.figure import LIGHT, in_ink, new_figure
from imgreg.reports.fonts import drawable, families
from imgreg.reports.forest import NAME_LIMIT
from imgreg.reports.performance import Drawn
from imgreg.reports.rows import colour_number, held_out_in_words
from imgreg.reports.text import one_line
from imgreg.runs.summary import RunSummary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BASELINE, CONTROL = LIGHT.ink, "#767676"
NAMES = {
    "logistic-regression-flattened": "log. regression, flattened",
    "logistic-regression-means": "log. regression, means",
    "majority": "largest class",
    "colour-histogram": "colours alone",
    "file-metadata": "file metadata alone",
    "shuffled-labels": "shuffled labels",
}
_ROW_INCHES = 0.29


@dataclass(frozen=True)
class Row:
    """A dot with its interval; without bounds a dot alone."""

    name: str
    value: float
    low: float | None
    high: float | None
    colour: str


def baselines_drawn(summary: RunSummary) -> Drawn | None:
    """Accuracies above, paired differences in loss to each baseline below; None without baselines."""
    if not (summary.baselines or summary.sanity_baselines):
        return None
    accuracies, differences = _accuracies(summary), _differences(summary)
    shown = [f"{row.name} {row.value:.1%}{_interval(row, '{:.1%}')}" for row in accuracies]
    losses = [f"{row.name} {row.value:+.3f}{_interval(row, '{:+.3f}')}" for row in differences]
    paired = "; for the differences, paired by photo" if differences else ""
    return Drawn(
        "baselines",
        _figure(summary, accuracies, differences),
        "This head compared with baselines",
        f"Validation accuracy: {'; '.join(shown)}."
        + (f" Validation loss, head minus baseline: {'; '.join(losses)}." if losses else ""),
        f"All on the same {held_out_in_words(summary)}. Lines: 95 % intervals{paired}.",
    )


def _figure(summary: RunSummary, accuracies: Sequence[Row], differences: Sequence[Row]) -> Figure:
    heights = [len(accuracies) * _ROW_INCHES, len(differences) * _ROW_INCHES]
    n_axes = 2 if differences else 1
    figure = new_figure(4.8, sum(heights[:n_axes]) + 0.85 * n_axes)
    upper, *lower = figure.subplots(n_axes, 1, squeeze=False, height_ratios=[h + 0.2 for h in heights[:n_axes]])[:, 0]
    _dots(upper, accuracies, label=_photos(summary))
    _as_percent(upper)
    for axes in lower:
        _dots(axes, differences, label="validation loss, head minus baseline (nats)")
        axes.axvline(0, color=LIGHT.ink, linewidth=1)
        reach = max(abs(bound) for row in differences for bound in (row.low, row.high, row.value) if bound is not None)
        axes.set_xlim(-1.15 * reach - 1e-3, 1.15 * reach + 1e-3)
        for side, says in ((0.0, "head better"), (1.0, "baseline better")):
            axes.text(
                side,
                1.0,
                says,
                transform=axes.transAxes,
                ha="left" if side == 0 else "right",
                va="bottom",
                fontsize=9,
                color=LIGHT.ink,
            )
    return figure


def _accuracies(summary: RunSummary) -> list[Row]:
    accuracy = summary.kept.val_accuracy
    low, high = accuracy_interval(round(accuracy * summary.n_val), summary.n_val)
    return [
        Row("this head", accuracy, low, high, LIGHT.runs[colour_number(summary)]),
        *(Row(NAMES.get(it.name, it.name), it.accuracy, it.low, it.high, BASELINE) for it in summary.baselines),
        *(Row(NAMES.get(it.name, it.name), it.accuracy, it.low, it.high, CONTROL) for it in summary.sanity_baselines),
    ]


def _differences(summary: RunSummary) -> list[Row]:
    found = []
    for it in summary.baselines:
        difference = it.loss_difference
        found.append(Row(NAMES.get(it.name, it.name), difference.mean, difference.low, difference.high, BASELINE))
    return found


def _interval(row: Row, form: str) -> str:
    if row.low is None or row.high is None:
        return ""
    return f" (95 %: {form.format(row.low)} to {form.format(row.high)})"


def _dots(axes: Axes, rows: Sequence[Row], *, label: str) -> None:
    for height, row in enumerate(reversed(rows)):
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [height, height], color=row.colour, linewidth=2, solid_capstyle="round")
        axes.plot([row.value], [height], "o", color=row.colour, markersize=6)
    names = [drawable(one_line(row.name, limit=NAME_LIMIT)) for row in reversed(rows)]
    axes.set_yticks(range(len(rows)), names, fontfamily=families(), parse_math=False)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlabel(label, fontsize=10)
    axes.tick_params(labelsize=10)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=LIGHT.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_facecolor(LIGHT.paper)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    in_ink(axes)


def _photos(summary: RunSummary) -> str:
    if summary.n_folds:
        return f"out-of-fold accuracy on {summary.n_val} photos"
    return f"accuracy on the {summary.n_val} validation photos"


def _as_percent(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
