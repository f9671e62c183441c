"""Test-time views: a photo and its mirror image."""

from __future__ import annotations

import numpy as np

from imgreg.features.tta import CLEAN, MIRROR, mirrored, tta_views


def test_mirroring_twice_changes_nothing() -> None:
    """The mirror image of the mirror image is the photo; the rows stay, the columns turn."""
    photo = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    assert (mirrored(mirrored(photo)) == photo).all()
    assert (mirrored(photo)[:, 0] == photo[:, -1]).all()
    assert mirrored(photo).flags.c_contiguous


def test_the_clean_photo_comes_first() -> None:
    """What reads one view only reads the clean one."""
    assert tta_views(mirror=True) == (CLEAN, MIRROR)
    assert tta_views(mirror=False) == (CLEAN,)
