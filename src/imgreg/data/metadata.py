"""A photo without its content: a histogram of its colours, and the facts of its file.

A control classifier gets these and nothing else. If it does as well as the network, the classes differ by their
backgrounds or their sources, not by what they are said to show.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from imgreg.data.decode import opened

PLAIN_LEVELS = 3  # of 255: a picture whose channels vary by no more shows nothing
COMMON_SIZE = 1 / 20  # of the photos
LEVELS = 4  # of each of red, green and blue: 64 colours

UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """One file.

    Attributes
    ----------
    colours : bytes
        How many pixels, of a small copy, have each of 64 colours; uint16 in bytes, red slowest.
    has_exif : bool
        Whether the file carries camera data.
    """

    colours: bytes
    width: int
    height: int
    n_bytes: int
    kind: str  # Pillow's name of the format
    has_exif: bool
    n_frames: int = 1
    is_turned: bool = False  # by its EXIF orientation
    is_plain: bool = False  # one colour all over
    look: int = 0  # 64 bits that like-looking pictures share, see look_of

    def packed(self) -> bytes:
        """Some 160 bytes, of which the object would take three times as many: there may be a million of them."""
        return _ENCODER.encode(astuple(self))

    @classmethod
    def unpacked(cls, data: bytes) -> ImageMetadata:
        """Read what packed() gave. raises msgspec.MsgspecError on anything else"""
        return cls(*_DECODER.decode(data))


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(tuple[bytes, int, int, int, str, bool, int, bool, bool, int])


def metadata(data: bytes, pixels: UInt8Array) -> ImageMetadata:
    """Measure a readable photo.

    Parameters
    ----------
    data : bytes
        The whole file.
    pixels : (s, s, 3) uint8
        RGB, decoded from it.
    """
    with opened(data) as image:
        width, height = image.size
        kind, has_exif = image.format or "", bool(image.info.get("exif"))
        n_frames, is_turned = _n_frames(image), _is_turned(image)
    level = pixels.reshape(-1, 3).astype(np.intp) * LEVELS // 256
    colour = (level[:, 0] * LEVELS + level[:, 1]) * LEVELS + level[:, 2]
    counts = np.bincount(colour, minlength=LEVELS**3).astype("<u2")
    is_plain = bool(np.ptp(pixels, axis=(0, 1)).max() <= PLAIN_LEVELS)
    return ImageMetadata(
        counts.tobytes(), width, height, len(data), kind, has_exif, n_frames, is_turned, is_plain, look_of(pixels)
    )


def look_of(pixels: UInt8Array) -> int:
    """64 bits: whether each of 8 x 8 places is brighter than its neighbour to the left. A picture that was made
    smaller, recompressed or brightened keeps nearly all of them.

    Parameters
    ----------
    pixels : (s, s, 3) uint8
        RGB.

    References
    ----------
    Krawetz 2013, "Kind of Like That" (dHash).
    """
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = np.packbits(grey[:, 1:] > grey[:, :-1])
    return int.from_bytes(bits.tobytes(), "big")


def _n_frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))  # looks through the whole file
    except Exception:  # noqa: BLE001 - the first frame, which is what is used, was read
        return 1


def _is_turned(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)
    except Exception:  # noqa: BLE001 - what is wrong with EXIF is let be, as in decode.py
        return False


def colour_shares(glances: list[ImageMetadata]) -> NDArray[np.float64]:
    """(n, 64) shares of the colours, rows sum to 1"""
    counts = np.stack([np.frombuffer(one.colours, "<u2") for one in glances]).astype(np.float64)
    return np.asarray(counts / counts.sum(axis=1, keepdims=True))


def file_facts(glances: list[ImageMetadata]) -> NDArray[np.float64]:
    """(n, 6 + formats + sizes) numbers: log width, log height, log bytes, log bytes a pixel, camera data, whether it is
    square, the format, and each exact size that a twentieth of the photos have: a source's mark that no line between
    small and large photos finds."""
    sizes = Counter((one.width, one.height) for one in glances)
    common = sorted(size for size, n in sizes.items() if n >= max(2, COMMON_SIZE * len(glances)))
    kinds = sorted({one.kind for one in glances})
    return np.array(
        [
            [
                np.log(one.width),
                np.log(one.height),
                np.log(one.n_bytes),
                np.log(one.n_bytes / (one.width * one.height)),
                float(one.has_exif),
                float(one.width == one.height),
                *(float(one.kind == kind) for kind in kinds),
                *(float((one.width, one.height) == size) for size in common),
            ]
            for one in glances
        ]
    )
