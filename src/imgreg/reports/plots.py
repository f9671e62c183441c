"""Figures of runs: one run, several over each other, several side by side.

In: histories. Out: PNG files, or SVG text for the reports.
Refuses to know: where the numbers come from, and what they mean.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from imgreg.reports.axes import (
    DARK,
    LIGHT,
    TITLES,
    Limits,
    Metric,
    colour_of,
    draw,
    figure_svg,
    new_figure,
    runs_legend,
    save_png,
    shared_limits,
    styles_legend,
)
from imgreg.reports.fonts import drawable, families
from imgreg.reports.text import one_line
from imgreg.runs.history import History


def curves(history: History, *, title: str, target: Path) -> None:
    """curves.png of one run: loss and accuracy side by side."""
    figure = new_figure(10, 4.4)
    for axes, metric in zip(figure.subplots(1, 2), TITLES, strict=True):
        draw(axes, {"": history}, metric=metric, colours=LIGHT.runs[1:])
        axes.set_title(TITLES[metric], fontsize=12)
    figure.suptitle(drawable(one_line(title, limit=90)), fontsize=13, fontfamily=families(), parse_math=False)
    save_png(figure, target)


def overlay(runs: Mapping[str, History], *, target: Path) -> None:
    """All runs in one pair of axes, by name: loss and accuracy."""
    figure = new_figure(10, 4.4 + 0.24 * len(runs))
    for axes, metric in zip(figure.subplots(1, 2), TITLES, strict=True):
        draw(axes, runs, metric=metric, legend=False)
        axes.set_title(TITLES[metric], fontsize=12)
    runs_legend(figure, runs)
    save_png(figure, target)


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
    save_png(figure, target)


def chart_svg(
    runs: Mapping[str, History], *, metric: Metric, first_colour: int = 0, limits: Limits | None = None
) -> str:
    """One pair of axes for a report, as SVG. It holds no names: the page around it has fonts for them."""
    figure = new_figure(4.8, 3.5)
    axes = figure.subplots()
    many = len(runs) > 1
    colours = tuple(colour_of(LIGHT.runs, first_colour + i) for i in range(len(runs)))
    draw(axes, runs, metric=metric, limits=limits, legend=not many, colours=colours)
    if many:
        styles_legend(figure)
    return figure_svg(figure, letters="none")


def darkened(svg: str) -> str:
    """The same figure for a dark page."""
    dark = dict(zip((LIGHT.paper, LIGHT.ink, LIGHT.grid), (DARK.paper, DARK.ink, DARK.grid), strict=True))
    dark |= zip(LIGHT.runs, DARK.runs, strict=True)
    return re.sub(r"#[0-9a-f]{6}\b", lambda colour: dark.get(colour[0], colour[0]), svg)
