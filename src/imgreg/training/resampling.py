"""What a repeated training starts with: indexed photos, split again for each repeat, and the frozen base."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from imgreg.config import Settings
from imgreg.data.index import PhotoIndex
from imgreg.data.resample import Repeat, resplit
from imgreg.errors import UsageError
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.dataset import read_index
from imgreg.training.near_duplicates import with_families

TEST_FRACTION = 0.2  # of all photos, in each repeat without folds


@dataclass(frozen=True)
class ResampledDataset:
    """The photos of a repeated training, indexed and split many times, and the base they go through."""

    index: PhotoIndex
    repeats: tuple[Repeat, ...]
    base: Backbone
    notes: tuple[str, ...]


def resample_dataset(
    data: Path, settings: Settings, *, repeats: int, folds: int = 0, session: Session, own_test: bool = True
) -> ResampledDataset:
    """Index the photos and split them again for each repeat.

    Parameters
    ----------
    repeats : int
        Number of random splits.
    folds : int
        0 for a random test split of TEST_FRACTION; else each repeat tests every photo once, in this many folds.
    own_test : bool
        Take the photos of the dataset's own test split too; False leaves them for the end.

    Raises
    ------
    DatasetError
        If the photos cannot be used as a dataset, or a class is too small.
    UsageError
        For fewer than 2 trainings.
    """
    watcher = session.watcher
    if repeats * max(folds, 1) < 2:
        raise UsageError("--repeats 1 gives no confidence interval: use 2 or more (5 is a good start), or --folds.")
    index, found = read_index(data, settings.photos, session=session)
    notes = list(found)
    if not own_test and any(photo.split == "test" for photo in index.photos):
        index = replace(index, photos=tuple(photo for photo in index.photos if photo.split != "test"))
        notes.append("The photos of the dataset's own test split take no part.")
        watcher.say(notes[-1])
    if any(photo.split is not None for photo in index.photos):
        notes.append("The dataset's own split is not used: every repeat draws a new one.")
        watcher.say(notes[-1])
    base = Backbone(settings.base, watcher=watcher, pool=session.pool)
    index, families = with_families(index, base=base, session=session)
    for line in families:
        watcher.say(line)
    notes += families
    drawn = resplit(
        index.photos,
        repeats=repeats,
        folds=folds,
        test_fraction=TEST_FRACTION,
        val_fraction=settings.photos.val_fraction,
        seed=settings.photos.split_seed,
    )
    return ResampledDataset(index, drawn, base, (*notes, *base.notes))
