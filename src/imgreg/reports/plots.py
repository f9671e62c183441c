"""Figures of runs: colour = run, solid = train, dashed = validation, a dot = the best epoch.

In: histories, or rows of pictures. Out: PNG files, or SVG text for the reports.
Refuses to know: where the numbers come from, and what they mean.
Palette: Okabe & Ito 2008, "Color Universal Design"; its yellow, illegible on white, is left out.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from imgreg.reports import one_line
from imgreg.reports.fonts import drawable, families
from imgreg.runs.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Metric = Literal["loss", "accuracy"]
UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True)
class Theme:
    """Colours of a figure; `runs` are taken in turn."""

    paper: str
    ink: str
    grid: str
    runs: tuple[str, ...]


LIGHT = Theme(
    "#ffffff",
    "#1a1a1a",
    "#dddddd",
    ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"),
)
DARK = Theme(
    "#16191d",
    "#e8e6e3",
    "#3a3f45",
    ("#f0803c", "#56b4e9", "#22c096", "#e29ac2", "#e69f00", "#3f9bdc", "#ffffff"),
)

_TITLES: dict[Metric, str] = {"loss": "Cross-entropy loss (nats)", "accuracy": "Accuracy"}
_DPI = 150
_DASHED = (0, (3.2, 1.6))
_LEGEND: dict[str, Any] = {"fontsize": 10, "frameon": False, "handlelength": 2.6}
_NAME = 48  # characters of a run's name in a legend or title


def curves(history: History, *, title: str, target: Path) -> None:
    """curves.png of one run: loss and accuracy side by side."""
    figure = _figure(10, 4.4)
    for axes, metric in zip(figure.subplots(1, 2), _TITLES, strict=True):
        _draw(axes, {"": history}, metric=metric, colours=LIGHT.runs[1:])
        axes.set_title(_TITLES[metric], fontsize=12)
    figure.suptitle(drawable(one_line(title, limit=90)), fontsize=13, fontfamily=families(), parse_math=False)
    _save(figure, target)


def overlay(runs: Mapping[str, History], *, target: Path) -> None:
    """All runs in one pair of axes, by name: loss and accuracy."""
    figure = _figure(10, 4.4 + 0.24 * len(runs))
    for axes, metric in zip(figure.subplots(1, 2), _TITLES, strict=True):
        _draw(axes, runs, metric=metric, legend=False)
        axes.set_title(_TITLES[metric], fontsize=12)
    _legend(figure, runs)
    _save(figure, target)


def panels(runs: Mapping[str, History], *, target: Path) -> None:
    """Before and after: the loss of each run in its own panel, all panels on the same axes."""
    n_columns = min(len(runs), 3)
    n_rows = math.ceil(len(runs) / n_columns)
    figure = _figure(max(5.0 * n_columns, 6), 4.2 * n_rows)
    grid = figure.subplots(n_rows, n_columns, squeeze=False)
    limits = shared_limits(runs)
    for i, axes in enumerate(grid.flat):
        if i >= len(runs):
            axes.set_axis_off()
            continue
        name, history = list(runs.items())[i]
        _draw(axes, {"": history}, metric="loss", colours=(_colour(LIGHT.runs, i),), limits=limits)
        if i % n_columns == 0:
            axes.set_ylabel(_TITLES["loss"], fontsize=11)
        axes.set_title(drawable(one_line(name, limit=40)), fontsize=12, fontfamily=families(), parse_math=False)
    _save(figure, target)


@dataclass(frozen=True)
class Limits:
    """Where the axes end: the last epoch and the largest loss shown."""

    epoch: int
    loss: float


def shared_limits(runs: Mapping[str, History]) -> Limits:
    """Axes on which every run can be read.

    A loss that explodes is let out at the top rather than flattening everything else: the axis ends at three
    times the 97th percentile, or at five times the larger of the first train and the best validation loss.
    """
    histories = runs.values()
    losses = np.concatenate([h.column(name) for h in histories for name in ("train_loss", "val_loss")])
    losses = losses[np.isfinite(losses)]
    if not len(losses) or losses.max() <= 0:
        return Limits(max(len(h.epochs) for h in histories), 1.0)
    reference = max(max(_finite(h.epochs[0].train_loss), _finite(h.best.val_loss)) for h in histories)
    cap = min(3 * float(np.percentile(losses, 97)), 5 * reference if reference > 0 else math.inf)
    top = min(float(losses.max()) * 1.06, cap) if cap > 0 else float(losses.max()) * 1.06
    return Limits(max(len(h.epochs) for h in histories), top)


def chart_svg(
    runs: Mapping[str, History], *, metric: Metric, first_colour: int = 0, limits: Limits | None = None
) -> str:
    """One pair of axes for a report, as SVG. It holds no names: the page around it has fonts for them."""
    import matplotlib

    figure = _figure(4.8, 3.5)
    axes = figure.subplots()
    many = len(runs) > 1
    colours = tuple(_colour(LIGHT.runs, first_colour + i) for i in range(len(runs)))
    _draw(axes, runs, metric=metric, limits=limits, legend=not many, colours=colours)
    if many:
        _styles_legend(figure)
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "imgreg"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def darkened(svg: str) -> str:
    """The same figure for a dark page."""
    dark = dict(zip((LIGHT.paper, LIGHT.ink, LIGHT.grid), (DARK.paper, DARK.ink, DARK.grid), strict=True))
    dark |= zip(LIGHT.runs, DARK.runs, strict=True)
    return re.sub(r"#[0-9a-f]{6}\b", lambda colour: dark.get(colour[0], colour[0]), svg)


def contact_sheet(rows: Sequence[tuple[str, Sequence[UInt8Array]]], *, headers: Sequence[str], target: Path) -> None:
    """Labelled rows of pictures, the headers above the columns.

    rows      each a label and its pictures, (s, s, 3) uint8 RGB; a short row leaves its last columns empty
    headers   a word or two for each column
    """
    from PIL import Image

    side = int(np.clip(max((p.shape[0] for _, pictures in rows for p in pictures), default=96), 96, 176))
    margin, line, space = 16, 30, 8
    n_columns = max(len(headers), 1)
    width = 2 * margin + n_columns * (side + space) - space
    height = margin + line + len(rows) * (line + side + space) + margin
    sheet = np.full((height, width, 3), 255, np.uint8)
    figure = _figure(width / _DPI, height / _DPI, free=True)
    for column, header in enumerate(headers):
        _line(figure, header, at=(margin + column * (side + space), margin + line / 2), width=side, grey=True)
    for row, (label, pictures) in enumerate(rows):
        top = margin + line + row * (line + side + space)
        _line(figure, label, at=(margin, top + line / 2), width=width - 2 * margin)
        for column, picture in enumerate(pictures[:n_columns]):
            square = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
            left = margin + column * (side + space)
            sheet[top + line : top + line + side, left : left + side] = np.asarray(square)
    figure.figimage(sheet, zorder=-1)
    _save(figure, target)


def _figure(
    width: float,
    height: float,
    *,
    free: bool = False,
) -> Figure:
    """A figure that belongs to no global state; `free` leaves every place to the caller."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = None if free else ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)  # inches
    figure = Figure((width, height), dpi=_DPI, layout=layout, facecolor=LIGHT.paper)
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, target: Path) -> None:
    """Write the PNG under a temporary name, then rename."""
    partial = target.with_name(f".{target.name}.partial")
    figure.savefig(partial, format="png", metadata={"Software": None})
    partial.replace(target)


def _draw(
    axes: Axes,
    runs: Mapping[str, History],
    *,
    metric: Metric,
    colours: Sequence[str] | None = None,
    limits: Limits | None = None,
    legend: bool = True,
) -> None:
    """Draw the runs' train (solid) and validation (dashed) curves and mark each best epoch."""
    limits = limits or shared_limits(runs)
    bottom, top = (0.0, limits.loss) if metric == "loss" else (_accuracy_floor(runs), 1.02)
    alone = len(runs) == 1
    for i, history in enumerate(runs.values()):
        colour = _colour(colours or LIGHT.runs, i)
        epochs, best = history.column("epoch"), history.best
        train, val = history.column(f"train_{metric}"), history.column(f"val_{metric}")
        dot = "o" if len(epochs) == 1 else None
        axes.plot(epochs, train, color=colour, linewidth=1.9, marker=dot, markerfacecolor=LIGHT.paper, label="train")
        axes.plot(epochs, val, color=colour, linewidth=1.9, linestyle=_DASHED, label=_validation_label(val, top=top))
        if metric == "loss":
            _mark_exit(axes, epochs, val, top=top, colour=colour)
        height = getattr(best, f"val_{metric}")
        if not math.isfinite(height):
            continue
        if alone:
            axes.fill_between(epochs, train, val, color=colour, alpha=0.10, linewidth=0)
            axes.axvline(best.epoch, color=LIGHT.ink, linewidth=1.0, linestyle=":", alpha=0.6)
        shown = f"{height:.1%}" if metric == "accuracy" else f"{height:.2f}"
        axes.plot(
            [best.epoch],
            [min(height, top)],
            "o",
            color=colour,
            markeredgecolor=LIGHT.paper,
            markersize=8,
            markeredgewidth=1.2,
            zorder=5,
            label=f"lowest validation loss: epoch {best.epoch} ({shown})",
        )
    axes.set_xlim(*((0.5, 1.5) if limits.epoch == 1 else (1 - 0.015 * limits.epoch, limits.epoch * 1.015)))
    axes.set_ylim(bottom, top)
    _dress(axes, metric=metric)
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


def _dress(axes: Axes, *, metric: Metric) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    axes.set_facecolor(LIGHT.paper)
    axes.set_xlabel("epoch", fontsize=11, color=LIGHT.ink)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=[1, 2, 5, 10], min_n_ticks=1))
    axes.tick_params(labelsize=10.5, colors=LIGHT.ink, length=3)
    axes.title.set_color(LIGHT.ink)
    axes.grid(color=LIGHT.grid, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LIGHT.ink)
    if metric == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _legend(figure: Figure, runs: Mapping[str, History]) -> None:
    """What the line styles mean above the axes, and a line a run below them."""
    from matplotlib.lines import Line2D

    _styles_legend(figure)
    handles = [Line2D([], [], color=_colour(LIGHT.runs, i), linewidth=4) for i in range(len(runs))]
    legend = figure.legend(
        handles,
        [str(i) for i in range(len(runs))],  # a label that begins with _ would be dropped: set below
        loc="outside lower center",
        labelspacing=0.3,
        labelcolor=LIGHT.ink,
        **_LEGEND,
    )
    for text, (name, history) in zip(legend.get_texts(), runs.items(), strict=True):
        best, last = history.best, history.last
        text.set_parse_math(False)
        text.set_fontfamily(families())
        text.set_text(
            f"{drawable(one_line(name, limit=_NAME))}: lowest validation loss {best.val_loss:.2f} "
            f"(epoch {best.epoch}), last {last.val_loss:.2f}"
        )


def _styles_legend(figure: Figure) -> None:
    from matplotlib.lines import Line2D

    styles = {
        "train": Line2D([], [], color=LIGHT.ink, linewidth=1.9),
        "validation": Line2D([], [], color=LIGHT.ink, linewidth=1.9, linestyle=_DASHED),
        "lowest validation loss": Line2D([], [], color=LIGHT.ink, linestyle="", marker="o", markersize=7),
    }
    figure.legend(
        list(styles.values()),
        list(styles),
        ncols=3,
        loc="outside upper center",
        labelcolor=LIGHT.ink,
        **_LEGEND,
    )


def _validation_label(val: NDArray[np.float64], *, top: float) -> str:
    out = val[np.isfinite(val) & (val > top)]
    return f"validation (off the top, up to {out.max():.3g})" if len(out) else "validation"


def _mark_exit(axes: Axes, epochs: NDArray[np.float64], val: NDArray[np.float64], *, top: float, colour: str) -> None:
    """An arrow head where the validation loss leaves the axes at the top."""
    out = np.flatnonzero(~(val <= top))
    if len(out):
        axes.plot([epochs[out[0]]], [top], "^", color=colour, markersize=9, clip_on=False, zorder=6)


def _accuracy_floor(runs: Mapping[str, History]) -> float:
    """The lowest accuracy shown: a round tenth, half at most, so that small changes do not look large."""
    values = np.concatenate([h.column(n) for h in runs.values() for n in ("train_accuracy", "val_accuracy")])
    return float(min(math.floor(10 * float(np.nanmin(values)) - 0.2) / 10, 0.5)) if np.isfinite(values).any() else 0.0


def _colour(colours: Sequence[str], i: int) -> str:
    return colours[i % len(colours)]


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _line(figure: Figure, text: str, *, at: tuple[float, float], width: float, grey: bool = False) -> None:
    """One line of text at a place counted in pixels from the top left, its middle left out until it fits."""
    whole = drawable(one_line(text, limit=200))
    drawn = figure.text(
        at[0] / figure.bbox.width,
        1 - at[1] / figure.bbox.height,
        whole,
        fontsize=7.5 if grey else 8,
        va="center",
        color="#555555" if grey else "#111111",
        fontfamily=families(),
        parse_math=False,
    )
    for limit in _shorter(len(whole)):
        if drawn.get_window_extent().width <= width:
            return
        drawn.set_text(one_line(whole, limit=limit))


def _shorter(length: int) -> Iterator[int]:
    while length > 3:
        length = min(length - 1, round(length * 0.92))
        yield max(length, 3)
