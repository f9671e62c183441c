"""Figures of a head on the photos it is scored on: ROC, precision and recall, calibration.

In: a Performance. Out: figures, with what to show at the pointer. Must not know: how the points were found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from imgreg.analysis.performance import ClassCurve, Performance, most_telling
from imgreg.reports.figure import LIGHT, colour_of, dress, new_figure
from imgreg.reports.hover import Hover, hover_over
from imgreg.reports.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_DRAWN = 6  # classes in one figure; of more, those with the lowest areas
_GRID = np.linspace(0, 1, 41)  # where the pointer shows values


@dataclass(frozen=True)
class Drawn:
    """A figure, what it is called, what it says, and in which order its colours name the classes."""

    stem: str  # of its files
    figure: Figure
    heading: str
    alt: str
    caption: str
    hover: Hover | None = None
    names: tuple[str, ...] = ()


def performance_figures(found: Performance) -> tuple[Drawn, ...]:
    """roc, precision_recall and calibration."""
    curves = most_telling(found.curves, limit=MOST_DRAWN)
    return (_roc(curves, n_classes=len(found.curves)), _precision_recall(curves), _calibration(found))


def _roc(curves: Sequence[ClassCurve], *, n_classes: int) -> Drawn:
    figure, axes = _square("false positive rate", "true positive rate")
    axes.plot([0, 1], [0, 1], color=LIGHT.ink, linewidth=1, linestyle=":", alpha=0.6)
    for colour, curve in _coloured(curves):
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, color=colour, linewidth=1.9)
    areas = ", ".join(f"{_short(curve)} {curve.roc_auc:.3f}" for curve in curves)
    shown = "" if len(curves) == n_classes else f" The {len(curves)} of {n_classes} classes with the lowest area."
    return Drawn(
        "roc",
        figure,
        "ROC",
        f"ROC curve: true positive rate by false positive rate. Area: {areas}.",
        f"Area under the curve: {areas}; chance is 0.5.{shown}",
        _hover(axes, curves, "{:.0%} false positive rate, true positive rate", _found_at),
        _names(curves),
    )


def _precision_recall(curves: Sequence[ClassCurve]) -> Drawn:
    figure, axes = _square("recall", "precision")
    for colour, curve in _coloured(curves):
        axes.axhline(curve.share, color=colour, linewidth=1, linestyle=":", alpha=0.6)
        axes.plot(curve.recall, curve.precision, color=colour, linewidth=1.9, drawstyle="steps-pre")
    areas = ", ".join(f"{_short(curve)} {curve.average_precision:.3f}" for curve in curves)
    return Drawn(
        "precision_recall",
        figure,
        "Precision and recall",
        f"Precision by recall. Average precision: {areas}.",
        f"Average precision: {areas}. Dotted: a classifier that answers this class for every photo.",
        _hover(axes, curves, "{:.0%} recall, precision", _precision_at),
        _names(curves),
    )


def _calibration(found: Performance) -> Drawn:
    figure, axes = _square("mean predicted probability", "observed frequency")
    axes.plot([0, 1], [0, 1], color=LIGHT.ink, linewidth=1, linestyle=":", alpha=0.6)
    said = [one.confidence for one in found.bins]
    held = [one.accuracy for one in found.bins]
    axes.vlines(said, [one.low for one in found.bins], [one.high for one in found.bins], color=LIGHT.ink, linewidth=1.2)
    axes.plot(said, held, "o-", color=LIGHT.runs[1], linewidth=1.5, markersize=6)
    left = min(0.5, *said) - 0.03
    axes.set_xlim(left, 1.02)
    error = found.metrics.figures["calibration_error"]
    texts = [
        f"Predicted {one.confidence:.0%}, observed {one.accuracy:.0%} (95 %: {one.low:.0%} to {one.high:.0%}), "
        f"{one.n_photos} photos"
        for one in found.bins
    ]
    says = (
        f"Calibration error {error.value:.3f} (95 %: {error.low:.3f} to {error.high:.3f}). Predicted: the "
        "probability of the predicted class; observed: how often it is correct. Below the dotted line the head is "
        "overconfident."
    )
    return Drawn(
        "calibration", figure, "Calibration", f"{says} {'. '.join(texts)}.", says, hover_over(axes, said, texts)
    )


def _square(xlabel: str, ylabel: str) -> tuple[Figure, Axes]:
    from matplotlib.ticker import PercentFormatter

    figure = new_figure(4.2, 3.9, free=True)
    axes = figure.add_axes((0.17, 0.14, 0.79, 0.83))
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel(xlabel, fontsize=10.5)
    axes.set_ylabel(ylabel, fontsize=10.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    dress(axes)
    return figure, axes


def _coloured(curves: Sequence[ClassCurve]) -> list[tuple[str, ClassCurve]]:
    first = 1 if len(curves) == 1 else 0
    return [(colour_of(LIGHT.runs, first + i), curve) for i, curve in enumerate(curves)]


def _short(curve: ClassCurve) -> str:
    return one_line(curve.name, limit=24)


def _names(curves: Sequence[ClassCurve]) -> tuple[str, ...]:
    return tuple(curve.name for curve in curves) if len(curves) > 1 else ()


def _hover(axes: Axes, curves: Sequence[ClassCurve], place: str, values: Callable[[ClassCurve], np.ndarray]) -> Hover:
    columns = [values(curve) for curve in curves]
    texts = [
        f"{place.format(x)}: "
        + ", ".join(f"{_short(curve)} {column[i]:.0%}" for curve, column in zip(curves, columns, strict=True))
        for i, x in enumerate(_GRID)
    ]
    return hover_over(axes, _GRID, texts)


def _found_at(curve: ClassCurve) -> np.ndarray:
    """The largest share that is found with no more called wrongly, at each place of the grid."""
    return np.array([curve.true_positive_rate[curve.false_positive_rate <= x + 1e-9].max() for x in _GRID])


def _precision_at(curve: ClassCurve) -> np.ndarray:
    """The best precision with which at least so many are found, at each place of the grid."""
    return np.array([curve.precision[curve.recall >= x - 1e-9].max() for x in _GRID])
