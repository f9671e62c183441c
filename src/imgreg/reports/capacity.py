"""Error over capacity: train and validation loss of heads of different size, over their number of parameters.

In: a study's trials and the recipes' numbers of parameters. Out: a figure. Must not know: how trials are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from imgreg.reports.figure import LIGHT, dress, new_figure
from imgreg.reports.fonts import drawable, families
from imgreg.reports.forest import NAME_LIMIT
from imgreg.reports.text import one_line
from imgreg.runs.trial import Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEAST_SIZES = 3  # that make a curve
LEAST_RANGE = 4  # times as many parameters in the largest head as in the smallest
_ALIKE = 1.1  # heads whose sizes differ by less share a label
_CURVES = (  # label, split, epoch
    ("train, last epoch", "train", "last"),
    ("validation, last epoch", "val", "last"),
    ("train, best epoch", "train", "best"),
    ("validation, best epoch", "val", "best"),
)


@dataclass(frozen=True)
class CapacityPoint:
    """A recipe's mean losses over the repeats, in nats.

    Attributes
    ----------
    best, last : dict
        Loss by split, "train" and "val", at the best validation epoch and after the last one.
    """

    recipe: str
    n_parameters: int
    best: Mapping[str, float]
    last: Mapping[str, float]


def capacity_points(
    trials: Mapping[str, Sequence[Trial]],
    *,
    groups: Mapping[str, Sequence[str]],
    n_parameters: Mapping[str, int],
) -> tuple[CapacityPoint, ...]:
    """The recipes of the first group that holds heads of clearly different size, the smallest first; else nothing.

    Parameters
    ----------
    groups : mapping
        Heading -> recipes, as a study draws them in one panel.
    n_parameters : mapping
        Recipe -> trainable parameters of its head.
    """
    for names in groups.values():
        sizes = {name: n_parameters[name] for name in names if name in n_parameters and name in trials}
        distinct = set(sizes.values())
        if len(distinct) >= LEAST_SIZES and max(distinct) >= LEAST_RANGE * min(distinct):
            ordered = sorted(sizes, key=lambda name: sizes[name])
            return tuple(_point(name, sizes[name], trials[name]) for name in ordered)
    return ()


def capacity_figure(points: Sequence[CapacityPoint]) -> Figure:
    """Train (solid) and validation loss (dashed) over the number of parameters, at the best and the last epoch."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = new_figure(7.2, 4.6)
    axes = figure.subplots()
    sizes = [point.n_parameters for point in points]
    for label, side, epoch in _CURVES:
        colour = LIGHT.runs[0] if epoch == "last" else LIGHT.runs[1]
        losses = [getattr(point, epoch)[side] for point in points]
        style = "-" if side == "train" else (0, (3.2, 1.6))
        axes.plot(sizes, losses, "o", color=colour, linestyle=style, linewidth=1.9, markersize=5, label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(min(sizes) / 1.5, max(sizes) * 1.5)
    axes.set_ylim(0, 1.15 * max(getattr(point, epoch)[side] for point in points for _, side, epoch in _CURVES) or 1)
    for size, name in _labels(points):
        axes.annotate(
            drawable(one_line(name, limit=NAME_LIMIT)),
            (size, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            fontsize=9.5,
            fontfamily=families(),
            color=LIGHT.ink,
            parse_math=False,
        )
    axes.set_xlabel("trainable parameters of the head", fontsize=11)
    axes.set_ylabel("cross-entropy loss (nats)", fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=10, labelcolor=LIGHT.ink)
    dress(axes)
    axes.tick_params(axis="x", labelsize=9)
    return figure


def capacity_in_words(points: Sequence[CapacityPoint]) -> str:
    """Every point of the figure, for readers who cannot see it."""
    return " ".join(
        f"{point.recipe}, {point.n_parameters:,} parameters: train {point.best['train']:.3f} and validation "
        f"{point.best['val']:.3f} at the best epoch, {point.last['train']:.3f} and {point.last['val']:.3f} at the last."
        for point in points
    )


def _point(name: str, size: int, row: Sequence[Trial]) -> CapacityPoint:
    def means(epoch_of: Mapping[int, int]) -> dict[str, float]:
        return {
            "train": fmean(trial.train_losses[epoch_of[i]] for i, trial in enumerate(row)),
            "val": fmean(trial.val_losses[epoch_of[i]] for i, trial in enumerate(row)),
        }

    best = means({i: trial.best_epoch - 1 for i, trial in enumerate(row)})
    return CapacityPoint(name, size, best=best, last=means(dict.fromkeys(range(len(row)), -1)))


def _labels(points: Sequence[CapacityPoint]) -> list[tuple[float, str]]:
    """A name at each size; those of nearly one size together."""
    found: list[tuple[float, str]] = []
    for point in points:
        if found and point.n_parameters < _ALIKE * found[-1][0]:
            found[-1] = (found[-1][0], f"{found[-1][1]}, {point.recipe}")
        else:
            found.append((point.n_parameters, point.recipe))
    return found
