"""What every figure shares: colours, size, places, and the ways into a file.

In: nothing, or a drawn figure. Out: an empty figure, PNG and SVG. Must not know: what is drawn.
Palette: Okabe & Ito 2008, "Color Universal Design"; its yellow, illegible on white, is left out.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

from imgreg.atomic_write import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
_OWN_COLOURS = ("plain", "regularized", "dropout", "l2", "augment", "low_lr")  # in the order of the theme's


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


def new_figure(
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
    figure = Figure((width, height), dpi=DPI, layout=layout, facecolor=LIGHT.paper)
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, target: Path) -> None:
    """Write the PNG, whole or not at all."""
    lay_out(figure)
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": None})
    write_atomic(target, data.getvalue())


def save_figure(figure: Figure, target: Path) -> str:
    """Write the figure as PNG, and as SVG beside it.

    Parameters
    ----------
    target : Path
        The PNG's path.

    Returns
    -------
    str
        The SVG's text.
    """
    save_png(figure, target)
    svg = figure_svg(figure)
    write_atomic(target.with_suffix(".svg"), svg.encode())
    return svg


def lay_out(figure: Figure) -> None:
    """Give everything in a figure its place, once: matplotlib would do it again for every file."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # "none" would leave an engine, for which savefig draws once more


def figure_svg(figure: Figure) -> str:
    """The figure as SVG text, whose letters the reader's own fonts draw; the same figure gives the same text."""
    import matplotlib

    lay_out(figure)
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "imgreg"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def darkened(svg: str) -> str:
    """The same figure for a dark page."""
    dark = dict(zip((LIGHT.paper, LIGHT.ink, LIGHT.grid), (DARK.paper, DARK.ink, DARK.grid), strict=True))
    dark |= zip(LIGHT.runs, DARK.runs, strict=True)
    return re.sub(r"#[0-9a-f]{6}\b", lambda colour: dark.get(colour[0], colour[0]), svg)


def dress(axes: Axes) -> None:
    """Paper, ink, grid and open sides, as every figure has them."""
    axes.set_facecolor(LIGHT.paper)
    axes.tick_params(labelsize=10.5, length=3)
    axes.grid(color=LIGHT.grid, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    in_ink(axes)


def in_ink(axes: Axes) -> None:
    """Words and lines in the theme's own ink, which a dark page exchanges."""
    axes.tick_params(colors=LIGHT.ink)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color(LIGHT.ink)
    for spine in axes.spines.values():
        spine.set_color(LIGHT.ink)


def recipe_colours(recipes: Sequence[str]) -> tuple[int, ...]:
    """A number in LIGHT.runs for each recipe: its own wherever it is drawn, the next free one where two share it.

    >>> recipe_colours(["regularized"]), recipe_colours(["plain", "plain"])
    ((1,), (0, 1))
    """
    n = len(LIGHT.runs)
    own = [
        _OWN_COLOURS.index(one) if one in _OWN_COLOURS else 2 + crc32(one.encode(errors="replace")) % (n - 2)
        for one in recipes
    ]
    taken: dict[int, int] = {}  # place among the recipes -> number
    for i in sorted(range(len(recipes)), key=lambda i: recipes[i] not in _OWN_COLOURS):
        in_turn = ((own[i] + k) % n for k in range(n))
        taken[i] = next((number for number in in_turn if number not in taken.values()), own[i])
    return tuple(taken[i] for i in range(len(recipes)))


def colour_of(colours: Sequence[str], i: int) -> str:
    """Of a run, in its order: the colours in turn."""
    return colours[i % len(colours)]
