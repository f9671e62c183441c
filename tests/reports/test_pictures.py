"""Small pictures: pixels and nothing else, and maps that can be read."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from imgreg.data.decode import picture
from imgreg.reports.pictures import jpeg, overlay


def test_a_thumbnail_carries_nothing_of_the_photo_but_pixels() -> None:
    """A photo with a place, a camera and a comment in it: none of it is in the thumbnail, which stands upright."""
    photo = Image.new("RGB", (400, 200), (200, 30, 30))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "SECRET CAMERA"
    exif.get_ifd(0x8825)[2] = (52.0, 30.0, 0.0)
    out = BytesIO()
    photo.save(out, "JPEG", exif=exif, comment=b"SECRET COMMENT")
    made = jpeg(picture(out.getvalue(), longest_px=100))
    assert b"SECRET" in out.getvalue()
    assert b"SECRET" not in made
    with Image.open(BytesIO(made)) as image:
        assert image.size == (50, 100)
        assert dict(image.getexif()) == {}
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_what_speaks_for_the_class_is_the_brightest() -> None:
    """The overlay of a grey photo is brighter where the map is higher, also without colours."""
    heat = np.zeros((4, 4))
    heat[1, 2], heat[3, 0] = 2.0, 1.0
    shown = overlay(np.full((80, 80, 3), 100, np.uint8), heat).astype(float).mean(axis=2)
    high, middle, low = shown[30, 50], shown[70, 10], shown[10, 10]
    assert high > middle + 20 > low + 40


def test_an_empty_map_glows_nowhere() -> None:
    """All zeros is no division by zero, and the photo is evenly dimmed."""
    with np.errstate(all="raise"):
        shown = overlay(np.full((40, 60, 3), 100, np.uint8), np.zeros((2, 2)))
    assert shown.shape == (40, 60, 3)
    assert np.ptp(shown) == pytest.approx(0, abs=1)
