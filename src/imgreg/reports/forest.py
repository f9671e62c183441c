"""Differences to a control with their intervals, a line each.

In: effects. Out: a figure. Must not know: how they were found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from imgreg.analysis.effects import Effect
from imgreg.analysis.photo_effects import PhotoEffect
from imgreg.reports.figure import LIGHT, in_ink, new_figure
from imgreg.reports.fonts import drawable, families
from imgreg.reports.text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TONES = {  # colour-blind-safe, and the legend has each word beside its mark
    "helped": "#009e73",
    "better on these photos": "#009e73",
    "hurt": "#d55e00",
    "worse on these photos": "#d55e00",
    "no difference that matters": "#0072b2",
    "not enough data": "#767676",
}
NAME_LIMIT = 28  # characters of a recipe's name in a figure


def forest_figure(effects: Sequence[Effect | PhotoEffect], *, control: str, what: str) -> Figure:
    """One line an effect, the first on top.

    Parameters
    ----------
    what : str
        The figure that is compared, with its unit.
    """
    rows = effects[::-1]
    figure = new_figure(6.6, 1.7 + 0.28 * len(rows))
    axes = figure.subplots()
    for height, row in enumerate(rows):
        tone = TONES[row.word]
        axes.plot([row.low, row.high], [height, height], color=tone, linewidth=2, solid_capstyle="round")
        axes.plot([row.mean], [height], "o", color=tone, markersize=6)
    axes.axvline(0, color=LIGHT.ink, linewidth=1)
    labels = [drawable(one_line(row.name, limit=NAME_LIMIT)) for row in rows]
    axes.set_yticks(range(len(rows)), labels, fontfamily=families(), parse_math=False)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel(
        f"difference in {what}\nfrom {drawable(one_line(control, limit=NAME_LIMIT))}",
        fontsize=11,
        fontfamily=families(),
        parse_math=False,
    )
    lows, highs = zip(*((row.low, row.high) for row in rows), strict=True)
    # a recipe whose loss exploded must not squeeze the others
    reach = 3 * float(np.median(np.maximum(np.abs(lows), np.abs(highs)))) or 1.0
    axes.set_xlim(max(min(*lows, 0), -reach) * 1.08 - 1e-3, min(max(*highs, 0), reach) * 1.08 + 1e-3)
    axes.tick_params(labelsize=10)
    in_ink(axes)
    axes.grid(axis="x", color=LIGHT.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    words = {row.word for row in rows}
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
