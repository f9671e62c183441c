"""The figure of a range test. In: a curve. Out: a PNG, and an SVG beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imgreg.analysis.lr_find import LearningRateCurve
from imgreg.reports.figure import LIGHT, dress, new_figure, save_figure

_ROOM = 1.3  # of the first loss, above which a diverging curve leaves the figure


def learning_rate_figure(curve: LearningRateCurve, *, marked: Mapping[str, float], target: Path) -> str:
    """Draw the smoothed training loss over the learning rate, with the suggested range. Returns the SVG.

    Parameters
    ----------
    marked : mapping of str to float
        Label to a rate that is marked.
    """
    figure = new_figure(7.2, 4.2)
    axes = figure.subplots()
    for one in curve.sweeps:
        n_steps = min(len(one), len(curve.rates))
        axes.plot(curve.rates[:n_steps], one[:n_steps], color=LIGHT.runs[1], alpha=0.3, linewidth=1)
    axes.plot(
        curve.rates, curve.losses, color=LIGHT.runs[1], linewidth=2.2, label=f"mean of {len(curve.sweeps)} sweeps"
    )
    if curve.low is not None and curve.high is not None:
        axes.axvspan(curve.low, curve.high, color=LIGHT.runs[2], alpha=0.2, linewidth=0, label="suggested range")
    others = (LIGHT.runs[0], *LIGHT.runs[3:])
    for number, (label, rate) in enumerate(marked.items()):
        axes.axvline(rate, color=others[number % len(others)], linestyle=(0, (3.2, 1.6)), label=label)
    axes.set_xscale("log")
    lowest, first = min(curve.losses), curve.losses[0]
    axes.set_ylim(lowest - 0.05 * first, max(_ROOM * first, lowest + 0.1))
    axes.set_xlabel("learning rate", fontsize=11)
    axes.set_ylabel("training loss (nats), smoothed", fontsize=11)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=10, labelcolor=LIGHT.ink)
    dress(axes)
    return save_figure(figure, target)
