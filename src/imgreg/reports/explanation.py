"""A photo beside the same photo with its Grad-CAM heatmap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgreg.reports.figure import DPI, LIGHT, new_figure, save_png
from imgreg.reports.fonts import drawable, families
from imgreg.reports.pictures import UInt8Array, overlay
from imgreg.reports.text import one_line


def explanation_figure(picture: UInt8Array, heat: NDArray[np.floating], *, title: str, target: Path) -> None:
    """Write the PNG.

    Parameters
    ----------
    picture : (h, w, 3) uint8
        RGB.
    heat : (rows, columns)
        >= 0; if all is 0, the title says so.
    """
    height, width = picture.shape[:2]
    figure = new_figure((2 * width + 60) / DPI, (height + 110) / DPI)
    for axes, pixels in zip(figure.subplots(1, 2), (picture, overlay(picture, heat)), strict=True):
        axes.imshow(pixels)
        axes.set_axis_off()
    says = title if heat.max() > 0 else f"{title}, but no region supports it"
    limit = max(20, round(width / 5))
    figure.suptitle(
        drawable(one_line(says, limit=limit)), fontsize=11, color=LIGHT.ink, fontfamily=families(), parse_math=False
    )
    save_png(figure, target)
