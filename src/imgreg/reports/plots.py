"""Curves of runs: one run, several over each other, several side by side.

In: histories. Out: PNG and SVG files, or charts for a page.
Refuses to know: where the numbers come from, and what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from imgreg.reports.figure import LIGHT, colour_of, figure_svg, new_figure, save_figure
from imgreg.reports.fonts import drawable, families
from imgreg.reports.hover import Hover, hover_over, value_lines
from imgreg.reports.page import Chart, chart
from imgreg.reports.run_axes import TITLES, Limits, Metric, draw, draw_rate, runs_legend, shared_limits, styles_legend
from imgreg.reports.text import one_line
from imgreg.runs.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RATE = {"height_ratios": (5, 1)}  # the learning rate's low axes beneath the loss


def curves(
    history: History, *, title: str, target: Path, onset: int | None = None, finetuned_from: int | None = None
) -> None:
    """Write curves.png and .svg of one run."""
    save_figure(curves_figure(history, title=title, onset=onset, finetuned_from=finetuned_from), target)


def curves_figure(
    history: History, *, title: str, onset: int | None = None, finetuned_from: int | None = None
) -> Figure:
    """Draw one run: loss above the learning rate, and accuracy beside them."""
    figure = new_figure(10, 4.9)
    grid = figure.add_gridspec(2, 2, **_RATE)
    loss = figure.add_subplot(grid[0, 0])
    rate = figure.add_subplot(grid[1, 0], sharex=loss)
    for axes, metric in ((loss, "loss"), (figure.add_subplot(grid[:, 1]), "accuracy")):
        draw(
            axes,
            {"": history},
            metric=metric,  # type: ignore[arg-type]
            colours=LIGHT.runs[1:],
            onset=onset,
            finetuned_from=finetuned_from,
        )
        axes.set_title(TITLES[metric], fontsize=12)  # type: ignore[index]
    _rate_below(loss, rate, history, colour=LIGHT.runs[1])
    figure.suptitle(drawable(one_line(title, limit=90)), fontsize=13, fontfamily=families(), parse_math=False)
    return figure


def overlay(runs: Mapping[str, History], *, target: Path) -> None:
    """All runs in one pair of axes, by name: loss and accuracy."""
    figure = new_figure(10, 4.4 + 0.24 * len(runs))
    for axes, metric in zip(figure.subplots(1, 2), TITLES, strict=True):
        draw(axes, runs, metric=metric, legend=False)
        axes.set_title(TITLES[metric], fontsize=12)
    runs_legend(figure, runs)
    save_figure(figure, target)


def panels(runs: Mapping[str, History], *, target: Path) -> None:
    """Before and after: the loss of each run in its own panel, all panels on the same axes."""
    n_columns = min(len(runs), 3)
    n_rows = math.ceil(len(runs) / n_columns)
    figure = new_figure(max(5.0 * n_columns, 6), 4.2 * n_rows)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    limits = shared_limits(runs)
    for i, axes in enumerate(grid.flat):
        if i >= len(runs):
            axes.set_axis_off()
            continue
        name, history = list(runs.items())[i]
        draw(axes, {"": history}, metric="loss", colours=(colour_of(LIGHT.runs, i),), limits=limits)
        if i % n_columns == 0:
            axes.set_ylabel(TITLES["loss"], fontsize=11)
        axes.set_title(drawable(one_line(name, limit=40)), fontsize=12, fontfamily=families(), parse_math=False)
    save_figure(figure, target)


def curves_chart(
    runs: Mapping[str, History],
    *,
    metric: Metric,
    heading: str,
    alt: str,
    caption: str = "",
    first_colour: int = 0,
    limits: Limits | None = None,
    onset: int | None = None,
    finetuned_from: int | None = None,
    with_rate: bool = False,
) -> Chart:
    """One figure for a page. It holds no names: the page around it has fonts for them.

    with_rate   the learning rate of a run that is drawn alone stands beneath
    """
    figure = new_figure(4.8, 4.0 if with_rate else 3.5, free=True)
    many = len(runs) > 1
    axes = figure.add_axes((0.13, 0.35, 0.84, 0.62) if with_rate else (0.13, 0.14, 0.84, 0.74 if many else 0.83))
    rate = figure.add_axes((0.13, 0.125, 0.84, 0.115), sharex=axes) if with_rate else None
    colours = tuple(colour_of(LIGHT.runs, first_colour + i) for i in range(len(runs)))
    draw(
        axes,
        runs,
        metric=metric,
        limits=limits,
        legend=not many,
        colours=colours,
        onset=onset,
        finetuned_from=finetuned_from,
    )
    if rate is not None:
        _rate_below(axes, rate, next(iter(runs.values())), colour=colours[0])
    if many:
        styles_legend(figure)
    hover = _hover(axes, runs, metric=metric, down_to=rate)
    names = tuple(runs) if many else ()
    return chart(figure_svg(figure), heading=heading, alt=alt, caption=caption, names=names, hover=hover)


def _rate_below(loss: Axes, rate: Axes, history: History, *, colour: str) -> None:
    draw_rate(rate, history, colour=colour)
    loss.set_xlabel("")
    loss.tick_params(labelbottom=False)


def _hover(axes: Axes, runs: Mapping[str, History], *, metric: Metric, down_to: Axes | None) -> Hover:
    longest = max(runs.values(), key=lambda history: len(history.epochs))
    form = "{:.1%}" if metric == "accuracy" else "{:.3f}"
    columns: dict[str, list[str]] = {}
    for name, history in runs.items():
        missing = ["–"] * (len(longest.epochs) - len(history.epochs))
        for side in ("train", "val"):
            label = {"train": "train", "val": "validation"}[side]
            shown = [form.format(value) for value in history.column(f"{side}_{metric}")]
            columns[f"{one_line(name, limit=30)} {label}" if len(runs) > 1 else label] = shown + missing
    if down_to is not None:
        columns["learning rate"] = [f"{value:.3g}" for value in longest.column("learning_rate")]
    return hover_over(axes, longest.column("epoch"), value_lines("Epoch {}", columns), down_to=down_to)
