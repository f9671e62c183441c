"""A study's figures and its report: effects as a forest, validation curves by topic, the ranked table.

In: a StudyTable and its cells. Out: PNG and HTML files. Refuses to know: how cells are made.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imgreg.analysis.study import StudyRow, StudyTable
from imgreg.reports.axes import LIGHT, figure_svg, in_ink, new_figure, save_png
from imgreg.reports.fonts import drawable, families
from imgreg.reports.html import Chart, data_address, write_page
from imgreg.reports.plots import darkened
from imgreg.reports.text import one_line
from imgreg.runs.cell import Cell
from imgreg.runs.summary import Control

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TONES = {  # colour-blind-safe, and each word stands beside its mark
    "helped": "#009e73",
    "hurt": "#d55e00",
    "no difference that matters": "#0072b2",
    "not enough data": "#767676",
}
_NAME = 28  # characters of a recipe's name in a figure


def forest(table: StudyTable, *, target: Path) -> None:
    """forest.png: each recipe's mean difference to the control in test loss, with its 95 % interval."""
    save_png(_forest(table), target)


def study_curves(
    cells: Mapping[str, Sequence[Cell]], *, groups: Mapping[str, Sequence[str]], log_epochs: bool, target: Path
) -> None:
    """curves.png: mean validation loss by epoch, a panel a group of recipes, the control in each.

    groups   heading -> recipes, the control first
    """
    save_png(_curves(cells, groups=groups, log_epochs=log_epochs), target)


def study_report(
    table: StudyTable,
    *,
    cells: Mapping[str, Sequence[Cell]],
    groups: Mapping[str, Sequence[str]],
    answer: Sequence[str],
    notes: Sequence[str],
    controls: Sequence[Control] = (),
    command: str,
    log_epochs: bool,
    target: Path,
) -> None:
    """report.html of a study: the answer first, then the forest, the table and the curves.

    raises   OSError if the disk refuses
    """
    figures = [
        (
            "Difference to the control",
            _forest(table),
            "Each recipe's mean difference in test loss, with its 95 % interval; the figures are in the table.",
            f"Left of the line is better than {table.control}. Intervals by Nadeau and Bengio's corrected t.",
        ),
        *(
            (
                f"Validation loss: {heading}",
                _curves(cells, groups={heading: names}, log_epochs=log_epochs, titles=False, width=6.2),
                f"Validation loss by epoch of {', '.join(names)}, means over the repeats.",
                "Means over the repeats; the dot is the lowest mean.",
            )
            for heading, names in groups.items()
        ),
    ]
    charts = tuple(
        Chart(heading, data_address(figure_svg(figure)), data_address(darkened(figure_svg(figure))), alt, caption)
        for heading, figure, alt, caption in figures
    )
    write_page(
        "study.html.j2",
        target=target,
        table=table,
        answer=answer,
        notes=notes,
        controls=controls,
        command=command,
        charts=charts,
        raw={name: [cell.model_dump(mode="json") for cell in row] for name, row in cells.items()},
    )


def _forest(table: StudyTable) -> Figure:
    rows = [row for row in table.rows if row.effect is not None][::-1]
    figure = new_figure(8.4, 1.5 + 0.3 * len(rows))
    axes = figure.subplots()
    for height, row in enumerate(rows):
        _interval(axes, row, height)
    axes.axvline(0, color=LIGHT.ink, linewidth=1)
    axes.set_yticks(range(len(rows)), [drawable(one_line(row.recipe, limit=_NAME)) for row in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel(f"difference to {drawable(one_line(table.control, limit=_NAME))} in test loss (nats)", fontsize=11)
    lows, highs = zip(*((row.effect.low, row.effect.high) for row in rows if row.effect), strict=True)
    # a recipe that came apart must not press all others into a line
    reach = 3 * float(np.median(np.maximum(np.abs(lows), np.abs(highs)))) or 1.0
    axes.set_xlim(max(min(*lows, 0), -reach) * 1.08 - 1e-3, min(max(*highs, 0), reach) * 1.08 + 1e-3)
    axes.tick_params(labelsize=10)
    in_ink(axes)
    axes.grid(axis="x", color=LIGHT.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    for label in axes.get_yticklabels():
        label.set_fontfamily(families())
    words = {row.effect.word for row in rows if row.effect}
    handles = [
        axes.plot([], [], "o-", color=tone, label=word, markersize=5)[0]
        for word, tone in TONES.items()
        if word in words
    ]
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=len(handles),
        frameon=False,
        fontsize=10,
        labelcolor=LIGHT.ink,
    )
    return figure


def _interval(axes: Axes, row: StudyRow, height: int) -> None:
    effect = row.effect
    assert effect is not None
    tone = TONES[effect.word]
    axes.plot([effect.low, effect.high], [height, height], color=tone, linewidth=2, solid_capstyle="round")
    axes.plot([effect.mean], [height], "o", color=tone, markersize=6)


def _curves(
    cells: Mapping[str, Sequence[Cell]],
    *,
    groups: Mapping[str, Sequence[str]],
    log_epochs: bool,
    titles: bool = True,
    width: float = 8.4,
) -> Figure:
    n_columns = min(len(groups), 2)
    n_rows = math.ceil(len(groups) / n_columns)
    figure = new_figure(width if n_columns == 1 else 14, 0.55 * width * n_rows if n_columns == 1 else 4.6 * n_rows)
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    means = {name: _mean_curve(row) for name, row in cells.items()}
    for axes, (heading, names) in zip(panels, groups.items(), strict=False):
        lowest = max(float(means[name][0]) for name in names)
        for number, name in enumerate(names):
            colour = LIGHT.ink if number == 0 else _colour(number - 1, len(names) - 1)
            curve = means[name]
            epochs = np.arange(1, len(curve) + 1)
            axes.plot(epochs, curve, color=colour, linewidth=2.2 if number == 0 else 1.5, linestyle=(0, (3.2, 1.6)))
            best = int(np.argmin(curve))
            axes.plot([], [], color=colour, linewidth=2, label=drawable(one_line(name, limit=_NAME)))
            axes.plot([epochs[best]], [curve[best]], "o", color=colour, markersize=5)
        ends = [float(means[name][-1]) for name in names]
        axes.set_ylim(0, min(max(lowest, *ends) * 1.1, 4 * float(np.median([means[n].min() for n in names]))))
        if titles:
            axes.set_title(drawable(one_line(heading, limit=60)), fontsize=12, fontfamily=families(), parse_math=False)
        axes.set_xlabel("epoch", fontsize=11)
        axes.set_ylabel("validation loss (nats)", fontsize=11)
        axes.grid(color=LIGHT.grid, linewidth=0.8)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        if log_epochs:
            axes.set_xscale("log")
        else:
            axes.xaxis.get_major_locator().set_params(integer=True)
        font = {"family": families(), "size": 9}
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), prop=font, labelcolor=LIGHT.ink)
        in_ink(axes)
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    return figure


def _mean_curve(row: Sequence[Cell]) -> np.ndarray:
    n_epochs = min(len(cell.val_losses) for cell in row)  # an early stop ends the mean
    return np.asarray(np.mean([cell.val_losses[:n_epochs] for cell in row], axis=0))


def _colour(number: int, count: int) -> str:
    if count <= len(LIGHT.runs) - 1:
        return LIGHT.runs[number]
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return to_hex(colormaps["turbo"](0.05 + 0.9 * number / (count - 1)))
