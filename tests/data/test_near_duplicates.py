"""Pictures that look alike at a glance."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from imgreg.data.index import index_photos
from imgreg.data.metadata import look_of
from imgreg.data.near_duplicates import MOST_BITS, near_pairs


def bits(one: Image.Image, other: Image.Image) -> int:
    first, second = (look_of(np.asarray(image.convert("RGB").resize((32, 32)))) for image in (one, other))
    return (first ^ second).bit_count()


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Image.Image:
    """Blobs of light, as photos have, rather than noise."""
    y, x = np.mgrid[0:240, 0:320]
    draw = np.random.default_rng(5)
    light = sum(
        draw.uniform(-90, 90) * np.exp(-((x - draw.uniform(0, 320)) ** 2 + (y - draw.uniform(0, 240)) ** 2) / 4000)
        for _ in range(14)
    )
    return Image.fromarray((128 + light[:, :, None] * [1, 0.8, 0.6]).clip(0, 255).astype(np.uint8))


def test_copies_that_were_worked_on_look_alike(photo: Image.Image) -> None:
    """Smaller, recompressed, brighter, less colourful: within the bits that a pair may differ in."""
    out = BytesIO()
    photo.save(out, "JPEG", quality=15)
    for other in (
        photo.resize((100, 75)),
        Image.open(out),
        ImageEnhance.Brightness(photo).enhance(1.3),
        ImageEnhance.Color(photo).enhance(0.2),
    ):
        assert bits(photo, other) <= MOST_BITS


def test_other_pictures_do_not(photo: Image.Image) -> None:
    """Mirrored, or of other light."""
    assert bits(photo, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) > 2 * MOST_BITS
    assert bits(photo, Image.effect_noise((320, 240), 60)) > 2 * MOST_BITS


def test_pairs_are_found_once_and_copies_to_the_byte_are_none(tmp_path: Path, photo: Image.Image) -> None:
    """A recompressed copy is a pair, an exact one is not, two plain pictures are none."""
    for number, kind in enumerate(("cold", "warm")):
        (tmp_path / kind).mkdir()
        photo.rotate(90 + 90 * number).save(tmp_path / kind / "other.png")
    photo.save(tmp_path / "cold" / "p1.png")
    photo.save(tmp_path / "warm" / "p2.jpg", quality=60)
    (tmp_path / "warm" / "p3.jpg").write_bytes((tmp_path / "warm" / "p2.jpg").read_bytes())
    for name in ("white.png", "grey.png"):
        Image.new("RGB", (64, 64), name.removesuffix(".png")).save(tmp_path / "cold" / name)
    index = index_photos(tmp_path, max_bad=0)
    pairs = {tuple(index.photos[row].path.name for row in pair) for pair in near_pairs(index.photos)}
    assert pairs == {("p1.png", "p2.jpg"), ("p1.png", "p3.jpg")}


def test_many_photos_are_compared_in_portions(monkeypatch, tmp_path: Path, photo: Image.Image) -> None:
    """A pair whose photos fall into different portions is found all the same."""
    monkeypatch.setattr("imgreg.data.near_duplicates._PORTION", 2)
    for kind in ("cold", "warm"):
        (tmp_path / kind).mkdir()
    for turns in range(1, 4):
        photo.rotate(90 * turns).save(tmp_path / "cold" / f"c{turns}.png")
    photo.save(tmp_path / "cold" / "a.png")
    photo.resize((160, 120)).save(tmp_path / "warm" / "z.png")
    index = index_photos(tmp_path, max_bad=0)
    assert [tuple(index.photos[r].path.name for r in pair) for pair in near_pairs(index.photos)] == [("a.png", "z.png")]
