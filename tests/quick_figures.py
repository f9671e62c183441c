"""The figures of commands are drawn once, as SVG. The PNG beside each is blank, in its own size: that saves half a second
a report.

Importing this takes effect. Tests of drawing ask for the fixture `rendered_png`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from imgreg.reports import contact_sheet, explanation, figure  # noqa: F401 - sheets and maps are PNG alone: rendered

rendered = False
_save_png = figure.save_png


def _save(drawn: Any, target: Path) -> None:
    if rendered:
        _save_png(drawn, target)
        return
    figure.lay_out(drawn)
    width, height = (round(inches * figure.DPI) for inches in drawn.get_size_inches())
    Image.new("L", (width, height), "white").save(target)


figure.save_png = _save
