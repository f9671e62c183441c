"""imgreg preview: what augmentation does to the photos, on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imgreg.config import Augmentation, Photos
from imgreg.data.augment import Augmenter
from imgreg.progress import Watcher
from imgreg.training.dataset import prepare_dataset, refuse_target
from imgreg.training.views_sheet import some_of_each_class, views_sheet


def preview(
    data: Path,
    *,
    augmentations: Sequence[Augmentation],
    seed: int,
    n_photos: int,
    n_views: int,
    size_px: int,
    photos: Photos,
    target: Path,
    watcher: Watcher | None = None,
) -> Path:
    """Write a contact sheet: train photos, each beside its first views by every augmentation given.

    The views are those that training with the same seed and settings uses.
    """
    refuse_target(data, target, suffix=".png", option="--out")
    single = photos.model_copy(update={"folds": 0})
    dataset = prepare_dataset(data, single, base=None, watcher=watcher or Watcher())
    views_sheet(
        some_of_each_class(dataset.split.train, n_photos=n_photos),
        augmenters={f", {one.backend}": Augmenter(one, seed=seed, size_px=size_px) for one in augmentations},
        n_views=n_views,
        size_px=size_px,
        target=target,
    )
    return target
