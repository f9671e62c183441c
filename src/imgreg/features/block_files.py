"""Files of features: blocks, each named by the hash of its content, so that a name says whether a block is whole.

In: features. Out: files, and their arrays, mapped into memory. Must not know: which features are in which block.

The hash is BLAKE2b, which is as safe as SHA-256 and half again as fast where the processor has no instructions for the
latter.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgreg.errors import MachineError

Float16Array = NDArray[np.float16]

MAPPED_BLOCKS = 64  # that stay mapped, for the next training on the same photos


@dataclass(frozen=True)
class WrittenBlock:
    """A block that lies in the cache or the store: its name, which is the hash of its content, and its length."""

    name: str
    n_bytes: int


def write_block(folder: Path, features: Float16Array) -> WrittenBlock:
    """Write a block, (n, h, w, c) float16, under the hash of its content. raises MachineError if the disk refuses."""
    content = block_content(features)
    name = block_name(content)
    write_content(folder, name, content)
    return WrittenBlock(name, len(content))


def block_content(features: Float16Array) -> bytes:
    """The bytes of a block's file."""
    data = io.BytesIO()
    np.save(data, features, allow_pickle=False)
    return data.getvalue()


def write_content(folder: Path, name: str, content: bytes) -> None:
    """Write a block's bytes under its name, whole or not at all. raises MachineError if the disk refuses"""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".new-", delete=False) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(file.name).replace(block_path(folder, name))
    except OSError as error:
        with contextlib.suppress(OSError, NameError):
            Path(file.name).unlink()
        raise MachineError(
            f"{folder}: cannot write {len(content):,} bytes of features ({error.strerror}). Free some "
            "space, or set IMGREG_CACHE to another folder."
        ) from error


def block_name(content: bytes) -> str:
    """The name of a block of these bytes, 64 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=32).hexdigest()


def block_path(folder: Path, name: str) -> Path:
    """The file of a block."""
    return folder / f"{name}.npy"


def is_intact(path: Path) -> bool:
    """Whether a block's file is there and its content is what its name says."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32)).hexdigest() == path.stem
    except FileNotFoundError:
        return False


def map_block(path: Path) -> Float16Array:
    """A block's features, (n, h, w, c) float16, mapped into memory. raises FileNotFoundError"""
    found = path.stat()
    return _mapped(path, found.st_ino, found.st_mtime_ns)


@functools.lru_cache(MAPPED_BLOCKS)
def _mapped(path: Path, _inode: int, _changed_ns: int) -> Float16Array:
    """Map a block; if the file was replaced, map it again."""
    block: Float16Array = np.load(path, mmap_mode="r", allow_pickle=False)
    return block
