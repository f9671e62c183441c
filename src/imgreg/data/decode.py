"""Bytes of one photo in, RGB pixels out. The only place where an image file is parsed.

The rules, which cached features depend on (raise POLICY when one changes):

- Formats: JPEG (MPO is one), PNG, WebP, BMP, GIF, TIFF, AVIF, told by content, never by name. First frame only.
  HEIC too where pillow-heif is installed (imgreg[heic]); it turns photos upright itself.
- The EXIF orientation is applied; EXIF that cannot be read is let be.
- Grey is repeated in all three channels. 16-bit grey keeps its high byte. Palettes are looked up.
- Transparency is laid over white.
- CMYK, YCbCr, Lab and HSV become RGB by Pillow's plain formulas; embedded colour profiles are not applied.
- 32-bit float images are refused: their brightness range is not defined.
- The whole photo is squeezed to a square (as Keras' load_img does), bilinear with antialiasing.
- A photo of more than MAX_PIXELS pixels, or one cut short, is refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import stat
import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from imgreg.data.members import read_member
from imgreg.data.stores import address_of, read_object
from imgreg.errors import PhotoError

POLICY = 1
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
MAX_PIXELS = 178_956_970  # Pillow's own bound for an error (twice its warning): 512 MB of RGB

UInt8Array = NDArray[np.uint8]

_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # EXIF 2.32, tag 0x0112

# What Pillow raises for broken files, as its own tests and our odd files show.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    ZeroDivisionError,
    AttributeError,
    RuntimeError,
    struct.error,
)

OUT_OF_MEMORY = "decoding it needs more memory than imgreg allows per photo"
_HEIF_OUT_OF_MEMORY = ("memory allocation error", "unexpected c++ exception")  # libheif's words for std::bad_alloc

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the first bytes of a file

HEIC = "a HEIC photo"

# Formats that people have among their photos and imgreg does not read, told by their first bytes.
_FOREIGN: dict[str, Callable[[bytes], bool]] = {
    HEIC: lambda data: (
        data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
    ),
    "a Photoshop file": lambda data: data.startswith(b"8BPS"),
    "a PostScript file": lambda data: data.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")),
    "a PDF file": lambda data: data.startswith(b"%PDF"),
    "a FITS file": lambda data: data.startswith(b"SIMPLE  ="),
    "an SVG or XML file": lambda data: data.lstrip()[:5] in (b"<?xml", b"<svg "),
}


@functools.cache
def heif_version() -> str | None:
    """Of pillow-heif, which is made known to Pillow; None where it is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return None
    pillow_heif.register_heif_opener(thumbnails=False)
    return str(pillow_heif.__version__)


def opened(data: bytes) -> Image.Image:
    """A photo's file, its header read; a context. raises what Pillow raises"""
    if data[:4] in _TIFF:
        _silence_libtiff()
    heic = _FOREIGN[HEIC](data) and heif_version() is not None
    return Image.open(BytesIO(data), formats=(*FORMATS, "HEIF") if heic else FORMATS)


@functools.cache
def _silence_libtiff() -> None:
    """Keep libtiff's own lines off stderr ("Fax3Decode1D: Bad code word ..."): what matters comes as an error.

    Pillow silences its warnings, not its errors. Where libtiff is part of Pillow itself, as in its wheels for Windows,
    nothing is changed.
    """
    folder = Path(Image.__file__).parent
    bundled = [*folder.parent.glob("[Pp]illow.libs/libtiff*"), *folder.glob(".dylibs/libtiff*")]
    for name in bundled or ("libtiff.so.6", "libtiff.6.dylib"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(str(name)).TIFFSetErrorHandler(None)


def read_bytes(path: Path) -> bytes:
    """Read a photo's file, its member of a tar or Parquet file, or its object in a store, once.

    Raises
    ------
    PhotoError
        With the system's reason, or if it is a folder, pipe or device.
    MachineError
        If a store does not answer.
    """
    if (address := address_of(path)) is not None:
        return read_object(address)
    if (member := read_member(str(path))) is not None:
        return member
    try:
        descriptor = os.open(path, _READING)  # a pipe would wait for its writer
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise PhotoError("not a regular file", code="not-a-file")
            return file.read()
    except IsADirectoryError as error:
        raise PhotoError("not a regular file", code="not-a-file") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte, from a manifest
        code = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
        reason = error.strerror if isinstance(error, OSError) else error
        raise PhotoError(f"cannot be opened: {reason}", code=code) from error


def decode_file(path: Path, *, size_px: int) -> UInt8Array:
    """The two steps in one, for a process that reads photos. raises PhotoError"""
    return decode(read_bytes(path), size_px=size_px)


def readable_bytes(path: Path) -> bytes:
    """A file's bytes, once they were decoded. raises PhotoError"""
    data = read_bytes(path)
    decode(data, size_px=32)
    return data


def decode(data: bytes, *, size_px: int) -> UInt8Array:
    """Turn a photo's bytes into pixels, by the rules above.

    Parameters
    ----------
    data : bytes
        A whole image file.

    Returns
    -------
    (size_px, size_px, 3) uint8
        RGB.

    Raises
    ------
    PhotoError
        With the reason; the first failure is final.
    """
    return _decoded(data, lambda _: (size_px, size_px))


def picture(data: bytes, *, longest_px: int) -> UInt8Array:
    """The same in the photo's own proportions, for people to look at.

    Returns
    -------
    (h, w, 3) uint8
        RGB, longest_px at its longer side.
    """

    def fitting(size: tuple[int, int]) -> tuple[int, int]:
        scale = longest_px / max(size)
        return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)

    return _decoded(data, fitting)


def _decoded(data: bytes, wanted: Callable[[tuple[int, int]], tuple[int, int]]) -> UInt8Array:
    """wanted   (width, height) of the whole photo -> those of the result, before it is turned upright"""
    if not data:
        raise PhotoError("the file is empty", code="empty")
    try:
        with opened(data) as image:
            return np.asarray(_resized(image, wanted(image.size)))
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        foreign = "".join(f"{name}, " for name, is_it in _FOREIGN.items() if is_it(data))
        if foreign.startswith(HEIC) and heif_version() is None:
            raise PhotoError(f"{HEIC}: run pip install 'imgreg[heic]' to read it", code="unsupported") from error
        raise PhotoError(
            f"{foreign}not a photo in a known format (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF)", code="unsupported"
        ) from error
    except Image.DecompressionBombError as error:
        raise PhotoError(f"too large: {error}", code="too-large") from error
    except MemoryError as error:
        raise PhotoError(OUT_OF_MEMORY, code="out-of-memory") from error
    except _BROKEN as error:
        if any(words in str(error).lower() for words in _HEIF_OUT_OF_MEMORY):
            raise PhotoError(OUT_OF_MEMORY, code="out-of-memory") from error
        reason = (str(error).splitlines() or [""])[0]
        code = "truncated" if "truncated" in reason.lower() or isinstance(error, EOFError) else "damaged"
        raise PhotoError(f"damaged: {reason or type(error).__name__}", code=code) from error


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.width * image.height > MAX_PIXELS:
        raise PhotoError(
            f"too large: {image.width} x {image.height} pixels, the maximum is {MAX_PIXELS:,}", code="too-large"
        )
    image.draft(None, size)  # a JPEG is decoded at 1/2, 1/4 or 1/8 where that is still large enough
    image.load()
    upright = _upright(image)
    rgb = _rgb(image).resize(size, Image.Resampling.BILINEAR)
    return rgb if upright is None else rgb.transpose(upright)


def _upright(image: Image.Image) -> Image.Transpose | None:
    try:
        return _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _BROKEN:
        return None


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise PhotoError("a 32-bit float image: its brightness range is undefined", code="unsupported")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        image = Image.fromarray((values.clip(0, 65_535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
