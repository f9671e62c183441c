"""imgreg preview: what augmentation does to the photos, on one sheet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from imgreg.config import Photos
from imgreg.data.augment import Augmenter
from imgreg.session import Session
from imgreg.training.dataset import prepare_dataset
from imgreg.training.new_folder import refuse_target
from imgreg.training.views_sheet import some_of_each_class, views_sheet


def preview(
    data: Path, *, augmenters: Mapping[str, Augmenter], n_photos: int, n_views: int, target: Path, session: Session
) -> Path:
    """Write a contact sheet: train photos, each beside its first augmented views.

    Parameters
    ----------
    augmenters : mapping of str to Augmenter
        What is added to a photo's label, and who makes the views: those that training with the same seed and
        settings uses.
    target : Path
        The PNG to write; overwritten if it exists.

    Raises
    ------
    UsageError
        If the target is no PNG, is in the photo folder, or in a folder that does not exist.
    DatasetError
        If the photos cannot be used as a dataset.
    """
    refuse_target(data, target, suffix=".png", option="--out")
    photos = Photos(allow_leakage=True, folds=0)  # nothing is trained
    dataset = prepare_dataset(data, photos, base=None, session=session)
    shown = some_of_each_class(dataset.split.train, n_photos=n_photos)
    views_sheet(shown, augmenters=augmenters, n_views=n_views, target=target)
    return target
