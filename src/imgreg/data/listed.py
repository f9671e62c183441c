"""One photo that a dataset names, not read yet, and the words that give a split."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass

from imgreg.data.stores import StoredObject
from imgreg.errors import PhotoError

SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".heic", ".heif")


@dataclass(frozen=True, slots=True)
class Listed:
    """A photo that a dataset names.

    Attributes
    ----------
    where : str
        Its path, its place in a larger file (see `members`), or the address of an object in a store.
    split : str or None
        train, val or test, or None where none is given.
    problem : PhotoError or None
        Why it cannot be used, where the listing already shows it; its label is then empty.
    stored : StoredObject or None
        The object as it was listed, by its key in the bucket.
    """

    where: str
    label: str
    split: str | None
    problem: PhotoError | None = None
    stored: StoredObject | None = None


def clean_label(name: str) -> str:
    """A class's name as clean text: one Unicode form, bytes that are not UTF-8 written out."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))
