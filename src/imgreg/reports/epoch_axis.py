"""The axis of epochs that figures share, and the learning rate along it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from imgreg.config import CurveStyle, Range
from imgreg.reports.figure import LIGHT, dress
from imgreg.runs.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def rate_in_words(history: History) -> str:
    """The learning rate where all epochs have the same; empty where it changes."""
    rates = history.column("learning_rate")
    return f"Learning rate {rates[0]:g} throughout." if np.ptp(rates) == 0 else ""


def draw_rate(axes: Axes, history: History, *, colour: str, style: CurveStyle) -> None:
    """The learning rate by epoch, in low axes beneath the loss; on a scale of powers where it falls far."""
    rates = history.column("learning_rate")
    epochs = history.column("epoch")
    axes.step(epochs, rates, where="mid", color=colour, linewidth=1.6, marker="o" if len(epochs) == 1 else None)
    positive = rates[rates > 0]
    if len(positive) == len(rates) and positive.max() > 20 * positive.min():
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, float(rates.max()) * 1.25 or 1.0)
        axes.set_yticks([0, float(rates.max())], ["0", f"{rates.max():.2g}"])
    axes.set_title("learning rate", fontsize=9.5, loc="left", pad=3, color=LIGHT.ink)
    dress_epochs(axes, n_epochs=len(epochs), style=style)


def dress_epochs(axes: Axes, *, n_epochs: int, style: CurveStyle) -> None:
    """The axis of epochs, with its scale, limits and ticks, and what its label must say of smoothing."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if style.log_epochs:
        low, high = (0.8, 1.25) if n_epochs == 1 else (0.95, n_epochs * 1.05)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda epoch, _: f"{epoch:g}"))
    else:
        low, high = (0.5, 1.5) if n_epochs == 1 else (1 - 0.015 * n_epochs, n_epochs * 1.015)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.set_xlim(*within(style.xlim, (low, high)))
    axes.set_xlabel(epochs_label(style), fontsize=11)
    dress(axes)


def epochs_label(style: CurveStyle) -> str:
    """
    >>> epochs_label(CurveStyle(smooth=2))
    'epoch (smoothed, std. 2 epochs; faint: unsmoothed)'
    """
    return f"epoch (smoothed, std. {style.smooth:g} epochs; faint: unsmoothed)" if style.smooth else "epoch"


def within(given: Range | None, usual: tuple[float, float]) -> tuple[float, float]:
    """The given limits, with the usual value for an end that was left open."""
    low, high = given or (None, None)
    low, high = usual[0] if low is None else low, usual[1] if high is None else high
    return (low, high) if low < high else (low, low + usual[1] - usual[0])
