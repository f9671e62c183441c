"""Pictures that look alike at a glance."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from imgreg.data import near_duplicates
from imgreg.data.index import Photo, index_photos
from imgreg.data.metadata import ImageMetadata, look_of
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


def test_the_parts_that_are_compared_lose_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is compared at once, the pairs are those of comparing each with each."""
    draw = np.random.default_rng(0)
    looks = [int(draw.integers(2**63)) for _ in range(12)]
    looks = [look ^ (1 << int(draw.integers(60))) for look in looks for _ in range(3)]
    photos = [
        Photo(f"{row}.jpg", "a", f"{row:064}", seen=ImageMetadata(b"", 1, 1, 1, "JPEG", False, look=look).packed())
        for row, look in enumerate(looks)
    ]
    expected = [(a, b) for a in range(36) for b in range(a + 1, 36) if (looks[a] ^ looks[b]).bit_count() <= MOST_BITS]
    assert len(expected) >= 36
    for rows, columns in ((1024, 16_384), (5, 7), (7, 2)):
        monkeypatch.setattr(near_duplicates, "_ROWS", rows)
        monkeypatch.setattr(near_duplicates, "_COLUMNS", columns)
        assert near_pairs(photos) == expected
