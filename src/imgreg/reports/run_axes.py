"""Curves of runs in a pair of axes: line styles, limits and marks.

Colour = run, solid = train, dashed = validation, a dot = the best epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.curves import gaussian_smoothed
from imgreg.config import CurveStyle
from imgreg.reports.epoch_axis import dress_epochs, within
from imgreg.reports.figure import LIGHT, colour_of
from imgreg.runs.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Metric = Literal["loss", "accuracy"]
Side = Literal["train", "val"]

TITLES: dict[Metric, str] = {"loss": "Cross-entropy loss (nats)", "accuracy": "Accuracy"}
DASHED = (0, (3.2, 1.6))
FAINT = 0.35  # opacity of an unsmoothed curve behind its smoothed one
AS_MEASURED = CurveStyle()
BOTH_SIDES: tuple[Side, ...] = ("train", "val")


@dataclass(frozen=True)
class Marks:
    """Epochs marked by a vertical line in the curves of a run that is drawn alone; None where there is none.

    Attributes
    ----------
    overfits_from : int or None
        The epoch from which the run overfits.
    finetuned_from : int or None
        Its first epoch with unfrozen convolutions.
    """

    overfits_from: int | None = None
    finetuned_from: int | None = None


NO_MARKS = Marks()


@dataclass(frozen=True)
class Limits:
    """Where the axes end: the last epoch and the largest loss shown."""

    epoch: int
    loss: float


@dataclass(frozen=True)
class PlotOptions:
    """How the curves of runs are drawn.

    Attributes
    ----------
    style : CurveStyle
        Smoothing, scale of the epochs, and limits; `ylim` is of the loss alone.
    colours : tuple of int
        A number in LIGHT.runs for each run; in turn where there are none.
    sides : tuple of {"train", "val"}
        The curves drawn of each run.
    limits : Limits or None
        Of axes that several figures share; by default those of the runs drawn.
    """

    style: CurveStyle = AS_MEASURED
    colours: tuple[int, ...] = ()
    sides: tuple[Side, ...] = BOTH_SIDES
    limits: Limits | None = None
    marks: Marks = NO_MARKS

    def colour(self, i: int) -> str:
        """The colour of a run, by its place among the runs."""
        return colour_of(LIGHT.runs, self.colours[i] if self.colours else i)


USUAL = PlotOptions()


def shared_limits(runs: Mapping[str, History], *, sides: Sequence[Side] = BOTH_SIDES) -> Limits:
    """Axes on which every run can be read.

    A loss that explodes is let out at the top rather than flattening everything else: the axis ends at three
    times the 97th percentile, or at five times the larger of the first train and the best validation loss.
    """
    histories = runs.values()
    losses = np.concatenate([h.column(name) for h in histories for name in (f"{side}_loss" for side in sides)])
    losses = losses[np.isfinite(losses)]
    if not len(losses) or losses.max() <= 0:
        return Limits(max(len(h.epochs) for h in histories), 1.0)
    reference = max(max(_finite(h.column(f"{sides[0]}_loss")[0]), _finite(h.best.val_loss)) for h in histories)
    cap = min(3 * float(np.percentile(losses, 97)), 5 * reference if reference > 0 else math.inf)
    top = min(float(losses.max()) * 1.06, cap) if cap > 0 else float(losses.max()) * 1.06
    return Limits(max(len(h.epochs) for h in histories), top)


def draw(
    axes: Axes,
    runs: Mapping[str, History],
    *,
    metric: Metric,
    options: PlotOptions = USUAL,
    legend: bool = True,
    end_labels: bool = False,
) -> None:
    """Draw the runs' train (solid) and validation (dashed) curves and mark each best epoch.

    Parameters
    ----------
    end_labels : bool
        Name the curves of a run that is drawn alone, with their values, where they end.
    """
    style, sides = options.style, options.sides
    limits = options.limits or shared_limits(runs, sides=sides)
    bottom, top = (0.0, limits.loss) if metric == "loss" else (_accuracy_floor(runs), 1.02)
    if metric == "loss":
        bottom, top = within(style.ylim, (bottom, top))
    for i, history in enumerate(runs.values()):
        colour = options.colour(i)
        measured = {side: history.column(f"{side}_{metric}") for side in sides}
        drawn = {side: gaussian_smoothed(values, std_epochs=style.smooth) for side, values in measured.items()}
        for side, values in drawn.items():
            is_train, epochs = side == "train", history.column("epoch")
            axes.plot(
                epochs,
                values,
                color=colour,
                linewidth=1.9,
                linestyle="-" if is_train else DASHED,
                marker="o" if is_train and len(epochs) == 1 else None,
                markerfacecolor=LIGHT.paper,
                label="_" if end_labels else "train" if is_train else _validation_label(measured[side], top=top),
            )
            if end_labels and math.isfinite(values[-1]):
                _label_end(axes, side, measured[side][-1], place=drawn, top=top, metric=metric)
            if style.smooth:
                axes.plot(epochs, measured[side], color=colour, linewidth=0.9, alpha=FAINT)
        if metric == "loss":
            _mark_exit(axes, history.column("epoch"), measured["val"], top=top, colour=colour)
        _mark_best(axes, history, metric=metric, top=top, colour=colour, between=drawn if len(runs) == 1 else None)
    _draw_marks(axes, options.marks)
    axes.set_ylim(bottom, top)
    dress_epochs(axes, n_epochs=limits.epoch, style=style)
    if metric == "accuracy":
        _in_percent(axes)
    if legend:
        axes.legend(
            fontsize=9.5,
            labelcolor=LIGHT.ink,
            facecolor=LIGHT.paper,
            edgecolor=LIGHT.grid,
            framealpha=0.85,
            handlelength=2.6,
            loc="best",
        )


def _mark_best(
    axes: Axes,
    history: History,
    *,
    metric: Metric,
    top: float,
    colour: str,
    between: Mapping[Side, NDArray[np.float64]] | None,
) -> None:
    """A dot at the best epoch; of a run that is drawn alone also a line there and, `between` its curves, a tint."""
    best = history.best
    height = getattr(best, f"val_{metric}")
    if not math.isfinite(height):
        return
    if between is not None:
        if len(between) == 2:
            epochs = history.column("epoch")
            axes.fill_between(epochs, between["train"], between["val"], color=colour, alpha=0.10, linewidth=0)
        axes.axvline(best.epoch, color=LIGHT.ink, linewidth=1.0, linestyle=":", alpha=0.6)
    axes.plot(
        [best.epoch],
        [min(height, top)],
        "o",
        color=colour,
        markeredgecolor=LIGHT.paper,
        markersize=8,
        markeredgewidth=1.2,
        zorder=5,
        label=f"lowest validation loss: epoch {best.epoch} ({_shown(height, metric)})",
    )


def _draw_marks(axes: Axes, marks: Marks) -> None:
    if marks.overfits_from is not None:
        says = f"overfitting from epoch {marks.overfits_from}"
        axes.axvline(marks.overfits_from, color=LIGHT.ink, linewidth=1.4, linestyle="-.", alpha=0.8, label=says)
    if marks.finetuned_from is not None:
        says = f"VGG16 unfrozen before epoch {marks.finetuned_from}"
        place, dashes = marks.finetuned_from - 0.5, (0, (5, 3))
        axes.axvline(place, color=LIGHT.ink, linewidth=1.2, linestyle=dashes, alpha=0.7, label=says)


def _label_end(
    axes: Axes, side: Side, value: float, *, place: Mapping[Side, NDArray[np.float64]], top: float, metric: Metric
) -> None:
    """The curve's name and last value beside its end, the two apart where the curves end close together."""
    heights = {name: min(float(values[-1]), top) for name, values in place.items()}
    room, middle = 0.11 * top, sum(heights.values()) / len(heights)
    height = heights[side]
    if len(heights) == 2 and abs(heights["val"] - heights["train"]) < room:
        is_upper = side == max(heights, key=lambda name: heights[name])
        height = max(middle, room / 2) + (room / 2 if is_upper else -room / 2)
    label = {"train": "train", "val": "validation"}[side]
    axes.annotate(
        f"{label} {_shown(value, metric)}",
        (1.01, height),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=11,
        color=LIGHT.ink,
        annotation_clip=False,
    )


def _shown(value: float, metric: Metric) -> str:
    return f"{value:.1%}" if metric == "accuracy" else f"{value:.2f}"


def _in_percent(axes: Axes) -> None:
    from matplotlib.ticker import PercentFormatter

    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _validation_label(val: NDArray[np.float64], *, top: float) -> str:
    out = val[np.isfinite(val) & (val > top)]
    return f"validation (off scale, up to {out.max():.3g})" if len(out) else "validation"


def _mark_exit(axes: Axes, epochs: NDArray[np.float64], val: NDArray[np.float64], *, top: float, colour: str) -> None:
    """An arrow head where the validation loss leaves the axes at the top."""
    out = np.flatnonzero(~(val <= top))
    if len(out):
        axes.plot([epochs[out[0]]], [top], "^", color=colour, markersize=9, clip_on=False, zorder=6)


def _accuracy_floor(runs: Mapping[str, History]) -> float:
    """The lowest accuracy shown: a round tenth, half at most, so that small changes do not look large."""
    values = np.concatenate([h.column(n) for h in runs.values() for n in ("train_accuracy", "val_accuracy")])
    return float(min(math.floor(10 * float(np.nanmin(values)) - 0.2) / 10, 0.5)) if np.isfinite(values).any() else 0.0


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0
