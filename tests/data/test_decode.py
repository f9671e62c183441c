"""decode.py: every documented rule, on files the test makes itself."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import ExifTags, Image

from imgreg.data.decode import decode
from imgreg.errors import PhotoError


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    data = BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def mean_colour(data: bytes) -> list[int]:
    return decode(data, size_px=32).reshape(-1, 3).mean(axis=0).round().astype(int).tolist()


ORANGE = Image.new("RGB", (40, 30), (230, 120, 20))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF"])
def test_every_format_gives_its_colour(kind: str) -> None:
    """A plain orange photo is orange in each of the seven formats."""
    assert mean_colour(encoded(ORANGE, kind)) == pytest.approx([230, 120, 20], abs=4)


def test_first_frame_only() -> None:
    """Of an animation the first frame is taken."""
    data = encoded(ORANGE, "GIF", save_all=True, append_images=[Image.new("RGB", (40, 30), "blue")])
    assert mean_colour(data) == pytest.approx([230, 120, 20], abs=4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    """A photo stored in any of the eight EXIF orientations decodes upright."""
    upright = np.zeros((64, 64, 3), np.uint8)
    upright[:32, :32] = (255, 0, 0)  # red top left, green top right: no symmetry left
    upright[:32, 32:] = (0, 255, 0)
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    image = Image.fromarray(upright)
    stored = image if undo is None else image.transpose(undo)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    np.testing.assert_array_equal(decode(encoded(stored, "PNG", exif=exif), size_px=64), upright)


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (Image.new("L", (40, 30), 77), [77, 77, 77]),
        (Image.new("LA", (40, 30), (0, 0)), [255, 255, 255]),
        (Image.new("RGBA", (40, 30), (255, 0, 0, 128)), [255, 127, 127]),
        (Image.new("1", (40, 30), 1), [255, 255, 255]),
        (ORANGE.quantize(4), [230, 120, 20]),
        (Image.fromarray(np.full((30, 40), 0x8000, np.uint16)), [128, 128, 128]),
    ],
    ids=["grey", "transparent grey", "half-transparent red", "bilevel", "palette", "16-bit grey"],
)
def test_modes_become_rgb_by_the_rules(image: Image.Image, colour: list[int]) -> None:
    """Grey repeats, transparency lies over white, a palette is looked up, 16 bits keep the high byte."""
    assert mean_colour(encoded(image, "PNG")) == pytest.approx(colour, abs=1)


def test_cmyk_becomes_rgb() -> None:
    """CMYK cyan is (0, 255, 255), not its negative."""
    assert mean_colour(encoded(Image.new("CMYK", (40, 30), (255, 0, 0, 0)), "TIFF")) == [0, 255, 255]


def test_palette_transparency_lies_over_white() -> None:
    """A palette entry marked transparent becomes white."""
    image = Image.new("P", (40, 30), 0)
    image.putpalette([10, 20, 30])
    assert mean_colour(encoded(image, "PNG", transparency=0)) == [255, 255, 255]


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_phones_heic_is_read(orientation: int) -> None:
    """With pillow-heif: its colours, where they are. EXIF's orientation turns nothing: in HEIF it only repeats what the
    container says, and libheif has turned the picture by that. A file cut in half is refused."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    image = Image.new("RGB", (64, 32), (200, 30, 40))
    image.paste((20, 60, 200), (32, 0, 64, 32))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encoded(image, "HEIF", exif=exif, quality=95)
    pixels = decode(data, size_px=32)
    assert np.abs(pixels[:, 20:].mean((0, 1)) - (20, 60, 200)).max() < 6
    assert np.abs(pixels[:, :12].mean((0, 1)) - (200, 30, 40)).max() < 6
    with pytest.raises(PhotoError):
        decode(data[: len(data) // 2], size_px=32)


def test_heic_without_its_library_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pillow-heif the message names the extra."""
    monkeypatch.setattr("imgreg.data.decode.heif_version", lambda: None)
    with pytest.raises(PhotoError, match=r"a HEIC photo: run pip install 'imgreg\[heic\]'") as refused:
        decode(b"\0\0\0\x18ftypheic" + b"\0" * 40, size_px=32)
    assert refused.value.code == "unsupported"


def test_float_images_are_refused() -> None:
    """A 32-bit float image has no defined brightness range."""
    with pytest.raises(PhotoError, match="32-bit float"):
        decode(encoded(Image.new("F", (8, 8), 0.5), "TIFF"), size_px=32)


def test_cut_short_is_refused() -> None:
    """A JPEG that lost its second half is not half a photo."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    data = encoded(noise, "JPEG")
    with pytest.raises(PhotoError, match="damaged: .*truncated"):
        decode(data[: len(data) // 2], size_px=32)


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty"), (b"hello", "not a photo in a known format")])
def test_what_is_no_photo_is_refused(data: bytes, reason: str) -> None:
    """An empty file and a text get different codes."""
    with pytest.raises(PhotoError, match=reason):
        decode(data, size_px=32)


def test_formats_outside_the_list_are_refused() -> None:
    """A format that Pillow reads but imgreg does not list is no photo."""
    with pytest.raises(PhotoError, match="known format"):
        decode(encoded(ORANGE, "PPM"), size_px=32)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    """A small file that claims 20,000 x 20,000 pixels is refused."""
    with pytest.raises(PhotoError, match=r"400000000 pixels|too large"):
        decode(encoded(Image.new("1", (20_000, 20_000)), "PNG"), size_px=32)


@pytest.mark.shared
def test_odd_files_are_read_or_refused_as_pillow_says(shared) -> None:
    """Each of the 94 odd files is read where Pillow 13 reads it and refused with a reason where not; Pillow alone reads
    no HEIC."""
    import csv

    with (shared / "oddphotos" / "index.csv").open() as lines:
        for row in csv.DictReader(lines):
            if row["file"].endswith((".heic", ".heif")):
                continue
            data = (shared / "oddphotos" / row["file"]).read_bytes()
            try:
                decode(data, size_px=64)
                found = "ok"
            except PhotoError as error:
                assert len(str(error)) > 10, row["file"]
                found = "reject"
            assert found == row["pillow_13_result"].split()[0], row["file"]
