"""Shortcuts: a source that shows in the files is found, chance is not."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.analysis.shortcuts import find_shortcut
from imgreg.data.metadata import ImageMetadata, file_facts


def files(n: int, *, seed: int) -> list[ImageMetadata]:
    """Files of random sizes about 100 px, formats and camera data, whatever their class."""
    draw = np.random.default_rng(seed)
    return [
        ImageMetadata(
            colours=b"",
            width=int(draw.integers(60, 160)),
            height=int(draw.integers(60, 160)),
            n_bytes=int(draw.integers(2_000, 30_000)),
            kind=str(draw.choice(["JPEG", "PNG"])),
            has_exif=bool(draw.random() < 0.5),
        )
        for _ in range(n)
    ]


def of_one_size(files: list[ImageMetadata], labels: np.ndarray) -> list[ImageMetadata]:
    """The same, those of class 1 at 100 x 100 px."""
    made = []
    for one, label in zip(files, labels, strict=True):
        size = (100, 100) if label else (one.width, one.height)
        made.append(ImageMetadata(b"", *size, one.n_bytes, one.kind, one.has_exif))
    return made


@pytest.mark.parametrize("n", [24, 60, 300])
def test_a_class_of_one_size_is_found(n: int) -> None:
    """Among sizes on either side of it, where no line between small and large photos would."""
    labels = np.arange(n) % 2
    found = find_shortcut("file-metadata", file_facts(of_one_size(files(n, seed=0), labels)), labels)
    assert found is not None
    assert found.accuracy > 0.9
    assert found.low < found.accuracy
    assert (found.largest_share, found.n_photos) == (0.5, n)


@pytest.mark.parametrize("n", [24, 200])
def test_chance_raises_no_alarm(n: int) -> None:
    """Thirty sets whose files tell nothing, small and large."""
    labels = np.arange(n) % 2
    found = [find_shortcut("file-metadata", file_facts(files(n, seed=seed)), labels) for seed in range(30)]
    assert found == [None] * 30


def test_copies_do_not_make_a_shortcut() -> None:
    """Each picture ten times: were its copies on both sides of a fold, 30 columns of noise would tell the classes."""
    draw = np.random.default_rng(0)
    pictures = np.repeat(np.arange(40), 10)
    numbers, labels = draw.normal(size=(40, 30))[pictures], (np.arange(40) % 2)[pictures]
    assert find_shortcut("file-metadata", numbers, labels, groups=pictures) is None
    assert find_shortcut("file-metadata", numbers, labels) is not None


def test_a_class_of_four_photos_is_not_judged() -> None:
    """Five folds need five photos of each class."""
    labels = np.array([0] * 30 + [1] * 4)
    numbers = np.column_stack([labels, np.ones(34)]).astype(float)
    assert find_shortcut("file-metadata", numbers, labels) is None
    assert find_shortcut("file-metadata", numbers[:30], labels[:30]) is None
