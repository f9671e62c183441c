"""What a page shows when the pointer, or an arrow key, is at a place of a figure.

In: axes and the values along them. Out: a Hover, which page.js reads. Must not know: how it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from imgreg.reports.figure import lay_out

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Hover:
    """Places along a figure's x axis, with a text for each.

    Attributes
    ----------
    at : list of float
        Of each place, its distance from the figure's left edge as a share of the width.
    top : float
        Where the axes begin and end, as shares of the height from the top.
    texts : list of str
        A line of values for each place.
    """

    at: list[float]
    top: float
    bottom: float
    texts: list[str]


def hover_over(axes: Axes, x: ArrayLike, texts: Sequence[str], *, down_to: Axes | None = None) -> Hover:
    """The positions of values along these axes, once the figure is laid out.

    Parameters
    ----------
    x : array
        A value for each text, on the axes' own scale.
    down_to : Axes, optional
        Axes further below that share the scale.
    """
    lay_out(axes.figure)  # type: ignore[arg-type]
    box, lowest = axes.get_position(), (down_to or axes).get_position()
    along = np.asarray(x, dtype=float)
    points = axes.transData.transform(np.column_stack([along, np.full(len(along), axes.get_ylim()[0])]))
    width = axes.figure.bbox.width
    return Hover(
        at=[round(float(place) / width, 4) for place in points[:, 0]],
        top=round(1 - box.y1, 4),
        bottom=round(1 - lowest.y0, 4),
        texts=list(texts),
    )


def value_lines(place: str, columns: Mapping[str, Sequence[str]]) -> list[str]:
    """A text for each row of equally long columns: the place's, then each column with its name.

    >>> value_lines("epoch {}", {"train": ["0.5", "0.4"], "validation": ["0.6", "0.6"]})
    ['epoch 1: train 0.5, validation 0.6', 'epoch 2: train 0.4, validation 0.6']
    """
    rows = zip(*columns.values(), strict=True)
    return [
        f"{place.format(number)}: " + ", ".join(f"{name} {value}" for name, value in zip(columns, row, strict=True))
        for number, row in enumerate(rows, start=1)
    ]
