"""Pictures on one sheet, in labelled rows (`imgreg preview`) or each with a caption (`imgreg label-issues`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imgreg.reports.figure import DPI, new_figure, save_png
from imgreg.reports.fonts import drawable, families
from imgreg.reports.text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UInt8Array = NDArray[np.uint8]


def contact_sheet(rows: Sequence[tuple[str, Sequence[UInt8Array]]], *, headers: Sequence[str], target: Path) -> None:
    """Labelled rows of pictures, the headers above the columns.

    Parameters
    ----------
    rows : sequence of tuple
        Each a label and its pictures, (s, s, 3) uint8 RGB; a short row leaves its last columns empty.
    headers : sequence of str
        A word or two for each column.
    """
    from PIL import Image

    side = int(np.clip(max((p.shape[0] for _, pictures in rows for p in pictures), default=96), 96, 176))
    margin, line, space = 16, 30, 8
    n_columns = max(len(headers), 1)
    width = 2 * margin + n_columns * (side + space) - space
    height = margin + line + len(rows) * (line + side + space) + margin
    sheet = np.full((height, width, 3), 255, np.uint8)
    figure = new_figure(width / DPI, height / DPI, free=True)
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
    save_png(figure, target)


def photo_grid(photos: Sequence[tuple[Sequence[str], UInt8Array]], *, target: Path) -> None:
    """Pictures in rows, each with its caption below.

    Parameters
    ----------
    photos : sequence of tuple
        Each a caption of some lines, as many for every picture, and the picture, (s, s, 3) uint8 RGB.
    """
    from PIL import Image

    side, margin, line, space = 176, 16, 20, 14  # pixels
    n_lines = max((len(caption) for caption, _ in photos), default=0)
    n_columns = max(min(6, len(photos)), 1)
    step = side + n_lines * line + space
    height = 2 * margin + -(-len(photos) // n_columns) * step - space
    width = 2 * margin + n_columns * (side + space) - space
    sheet = np.full((height, width, 3), 255, np.uint8)
    figure = new_figure(width / DPI, height / DPI, free=True)
    for number, (caption, picture) in enumerate(photos):
        left = margin + number % n_columns * (side + space)
        top = margin + number // n_columns * step
        square = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
        sheet[top : top + side, left : left + side] = np.asarray(square)
        for i, text in enumerate(caption):
            _line(figure, text, at=(left, top + side + (i + 0.5) * line), width=side, grey=i > 0)
    figure.figimage(sheet, zorder=-1)
    save_png(figure, target)


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
