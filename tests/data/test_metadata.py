"""Glance: colours and plain facts of a file."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from imgreg.data.decode import decode
from imgreg.data.metadata import ImageMetadata, colour_shares, file_facts, metadata


def file(colour: tuple[int, int, int], *, size: tuple[int, int] = (64, 40), kind: str = "PNG", **more: object) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, kind, **more)
    return data.getvalue()


def seen(data: bytes) -> ImageMetadata:
    return metadata(data, decode(data, size_px=32))


def test_colours_fall_into_their_cells() -> None:
    """A photo half black and half pure red has half its pixels in cell 0 and half in cell 3 * 16."""
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, 16:, 0] = 255
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "PNG")
    (shares,) = colour_shares([seen(data.getvalue())])
    assert shares.shape == (64,)
    assert {int(i): float(shares[i]) for i in np.flatnonzero(shares)} == {0: 0.5, 48: 0.5}


def test_facts_are_the_file_s_own() -> None:
    """Width, height, bytes, format and camera data are taken down as they are in the file, not as decoded."""
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    plain, shot = file((9, 9, 9), size=(300, 200)), file((9, 9, 9), kind="JPEG", exif=exif)
    one, two = seen(plain), seen(shot)
    assert (one.width, one.height, one.n_bytes, one.kind, one.has_exif) == (300, 200, len(plain), "PNG", False)
    assert (two.kind, two.has_exif) == ("JPEG", True)
    facts = file_facts([one, two])
    np.testing.assert_allclose(facts[0], [np.log(300), np.log(200), np.log(len(plain)), *facts[0][3:4], 0, 0, 0, 1])
    assert facts[0][3] == pytest.approx(np.log(len(plain) / 60_000))
    assert facts[1][-2:].tolist() == [1, 0]


def test_square_files_and_common_sizes_are_facts() -> None:
    """A size that a twentieth of the files have is a number of its own, in the order of width; rarer ones are not."""
    one = seen(file((9, 9, 9), size=(100, 100)))
    others = [dataclasses.replace(one, width=200 + number) for number in range(38)]
    facts = file_facts([one, one, *others])
    assert facts.shape == (40, 8)
    assert facts[:, 5].tolist() == [1, 1, *[0] * 38]
    assert facts[:, 7].tolist() == [1, 1, *[0] * 38]
    assert file_facts([one, *others, *others[:3]]).shape == (42, 7)
