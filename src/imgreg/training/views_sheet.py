"""Photos beside their augmented views, on one sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from imgreg.data.augment import Augmenter
from imgreg.data.index import Photo
from imgreg.features.extract import read_photo


def views_sheet(photos: Sequence[Photo], *, augmenters: Mapping[str, Augmenter], n_views: int, target: Path) -> None:
    """Draw each photo beside its first views.

    Parameters
    ----------
    augmenters : mapping of str to Augmenter
        What is added to a photo's label, and who makes the views.
    """
    from imgreg.reports.contact_sheet import contact_sheet

    rows = []
    for photo in photos:
        for says, augmenter in augmenters.items():
            pixels = read_photo(photo, size_px=augmenter.size_px)
            views = [augmenter.view(pixels, sha256=photo.sha256, view=view) for view in range(n_views + 1)]
            rows.append((f"{photo.label}: {photo.path.name}{says}", views))
    headers = ["original", *(f"view {view}" for view in range(1, n_views + 1))]
    contact_sheet(rows, headers=headers, target=target)


def some_of_each_class(photos: Sequence[Photo], *, n_photos: int) -> list[Photo]:
    """n_photos in all, the classes taken in turn."""
    by_label: dict[str, list[Photo]] = {}
    for photo in photos:
        by_label.setdefault(photo.label, []).append(photo)
    turns = max(len(group) for group in by_label.values())
    in_turn = [group[turn] for turn in range(turns) for _, group in sorted(by_label.items()) if turn < len(group)]
    return in_turn[:n_photos]
