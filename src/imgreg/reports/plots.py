"""Curves of runs: one run, several over each other, several side by side.

In: histories. Out: PNG and SVG files, or charts for a page.
Must not know: where the numbers come from, and what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imgreg.config import CurveStyle
from imgreg.reports.epoch_axis import draw_rate, rate_in_words
from imgreg.reports.figure import figure_svg, new_figure, save_figure
from imgreg.reports.fonts import drawable, families
from imgreg.reports.hover import Hover, hover_over, value_lines
from imgreg.reports.legends import runs_legend, styles_legend
from imgreg.reports.page import Caption, Chart, chart
from imgreg.reports.run_axes import TITLES, USUAL, Metric, PlotOptions, Side, draw, shared_limits
from imgreg.reports.text import one_line
from imgreg.runs.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RATE = {"height_ratios": (5, 1)}  # the learning rate's low axes beneath the loss


def curves_figure(history: History, *, title: str, options: PlotOptions = USUAL) -> Figure:
    """Draw one run: loss, above the learning rate where that changes, and accuracy beside them."""
    figure = new_figure(10, 4.9, free=True)
    is_constant = bool(rate_in_words(history))
    grid = figure.add_gridspec(2, 2, left=0.085, right=0.985, bottom=0.11, top=0.865, wspace=0.16, hspace=0.2, **_RATE)
    loss = figure.add_subplot(grid[:, 0] if is_constant else grid[0, 0])
    rate = None if is_constant else figure.add_subplot(grid[1, 0], sharex=loss)
    for axes, metric in ((loss, "loss"), (figure.add_subplot(grid[:, 1]), "accuracy")):
        draw(axes, {"": history}, metric=metric, options=options)  # type: ignore[arg-type]
        axes.set_title(TITLES[metric], fontsize=12)  # type: ignore[index]
    if rate is not None:
        _rate_below(loss, rate, history, colour=options.colour(0), style=options.style)
    figure.suptitle(drawable(one_line(title, limit=90)), fontsize=13, fontfamily=families(), parse_math=False)
    return figure


def overlay(runs: Mapping[str, History], *, target: Path, options: PlotOptions = USUAL) -> None:
    """All runs in one pair of axes, by name: loss and accuracy."""
    figure = new_figure(10, 4.4 + 0.24 * len(runs))
    for axes, metric in zip(figure.subplots(1, 2), TITLES, strict=True):
        draw(axes, runs, metric=metric, options=options, legend=False)
        axes.set_title(TITLES[metric], fontsize=12)
    runs_legend(figure, runs, options=options)
    save_figure(figure, target)


def validation_losses(runs: Mapping[str, History], *, target: Path, options: PlotOptions = USUAL) -> None:
    """The runs' validation losses alone, in one pair of axes, as TensorFlow's tutorial compares its models."""
    figure, alone = new_figure(7.2, 4.4 + 0.24 * len(runs)), replace(options, sides=("val",))
    axes = figure.subplots()
    draw(axes, runs, metric="loss", options=alone, legend=False)
    axes.set_ylabel("Validation loss (nats)", fontsize=11)
    runs_legend(figure, runs, options=alone)
    save_figure(figure, target)


def panels(runs: Mapping[str, History], *, target: Path, options: PlotOptions = USUAL) -> None:
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
        number = options.colours[i] if options.colours else i
        draw(axes, {"": history}, metric="loss", options=replace(options, colours=(number,), limits=limits))
        axes.set_ylabel(TITLES["loss"], fontsize=11)
        axes.set_title(drawable(one_line(name, limit=40)), fontsize=12, fontfamily=families(), parse_math=False)
    save_figure(figure, target)


def curves_chart(
    runs: Mapping[str, History],
    says: Caption,
    *,
    metric: Metric,
    options: PlotOptions = USUAL,
    with_unit: bool = False,
    is_large: bool = False,
) -> Chart:
    """One figure for a page. It holds no names: the page around it has fonts for them.

    Parameters
    ----------
    with_unit : bool
        Label the y axis with the metric and its unit, where the heading does not say it.
    is_large : bool
        A wide figure of one run: its curves are named where they end, and the learning rate is drawn beneath where it
        changes.
    """
    figure = new_figure(6.6 if is_large else 4.8, 3.5, free=True)
    many, sides = len(runs) > 1, options.sides
    with_rate = is_large and not rate_in_words(next(iter(runs.values())))
    left, width = (0.09, 0.70) if is_large else (0.15, 0.82) if with_unit else (0.13, 0.84)
    axes = figure.add_axes((left, 0.35, width, 0.62) if with_rate else (left, 0.14, width, 0.74 if many else 0.83))
    rate = figure.add_axes((left, 0.125, width, 0.115), sharex=axes) if with_rate else None
    draw(axes, runs, metric=metric, options=options, legend=not many, end_labels=is_large)
    if with_unit:
        axes.set_ylabel(TITLES[metric], fontsize=11)
    if rate is not None:
        _rate_below(axes, rate, next(iter(runs.values())), colour=options.colour(0), style=options.style)
    if many:
        styles_legend(figure, sides=sides)
    hover = _hover(axes, runs, metric=metric, down_to=rate, sides=sides)
    names = tuple(runs) if many else ()
    svg = figure_svg(figure)
    return chart(svg, says, names=names, colours=options.colours, hover=hover)


def _rate_below(loss: Axes, rate: Axes, history: History, *, colour: str, style: CurveStyle) -> None:
    draw_rate(rate, history, colour=colour, style=style)
    loss.set_xlabel("")
    loss.tick_params(labelbottom=False)


def _hover(
    axes: Axes, runs: Mapping[str, History], *, metric: Metric, down_to: Axes | None, sides: tuple[Side, ...]
) -> Hover:
    longest = max(runs.values(), key=lambda history: len(history.epochs))
    form = "{:.1%}" if metric == "accuracy" else "{:.3f}"
    columns: dict[str, list[str]] = {}
    for name, history in runs.items():
        missing = ["–"] * (len(longest.epochs) - len(history.epochs))
        for side in sides:
            label = {"train": "train", "val": "validation"}[side]
            shown = [form.format(value) for value in history.column(f"{side}_{metric}")]
            columns[f"{one_line(name, limit=30)} {label}" if len(runs) > 1 else label] = shown + missing
    if down_to is not None or len(runs) == 1:
        columns["learning rate"] = [f"{value:.3g}" for value in longest.column("learning_rate")]
    return hover_over(axes, longest.column("epoch"), value_lines("Epoch {}", columns), down_to=down_to)
