"""Near-duplicates: pictures that are there several times with other bytes, confirmed by VGG16."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.split_duplicates import TWINS
from imgreg.data.index import Photo, PhotoIndex
from imgreg.data.issues import connected
from imgreg.data.near_duplicates import near_pairs
from imgreg.features.extract import FeatureSource, extract
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.cache import open_cache
from imgreg.training.data_quality import describe

N_OTHERS = 64  # photos beside the candidates whose mean is taken off: what all photos share says nothing


def with_families(index: PhotoIndex, *, base: Backbone, session: Session) -> tuple[PhotoIndex, list[str]]:
    """Put the photos of each such picture into one family, which stays in one split.

    Returns
    -------
    PhotoIndex
        The index with `Photo.family` set: the least hash of the family, so that it stays when other photos come.
    list of str
        A line on them, for the report; empty if there are none.
    """
    groups = connected(confirmed_pairs(index, base=base, session=session))
    family = {index.photos[row].sha256: min(index.photos[i].sha256 for i in group) for group in groups for row in group}
    photos = tuple(
        replace(photo, family=family[photo.sha256]) if photo.sha256 in family else photo for photo in index.photos
    )
    if not groups:
        return index, []
    pictures = "1 picture has" if len(groups) == 1 else f"{len(groups)} pictures have"
    note = f"{pictures} near-duplicates, which are kept in the same split (imgreg check lists them)."
    return replace(index, photos=photos), [note]


def confirmed_pairs(index: PhotoIndex, *, base: Backbone, session: Session) -> list[tuple[int, int]]:
    """Find pairs that are alike in their difference hash and to VGG16, as rows of index.photos."""
    pairs = near_pairs(index.photos)
    if not pairs:
        return []
    candidates = sorted({row for pair in pairs for row in pair})
    others = [row for row in range(len(index.photos)) if row not in set(candidates)]
    chosen = sorted(others, key=lambda row: index.photos[row].sha256)[:N_OTHERS]  # by content: the same each time
    rows = candidates + chosen
    found = _descriptors([index.photos[row] for row in rows], base=base, session=session)
    centred = found - found.mean(axis=0)
    unit = dict(zip(rows, centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12), strict=True))
    return [(a, b) for a, b in pairs if float(unit[a] @ unit[b]) >= TWINS]


def _descriptors(photos: Sequence[Photo], *, base: Backbone, session: Session) -> NDArray[np.float32]:
    with open_cache(session) as cache:
        source = FeatureSource(cache, base=base.identity)
        extract(
            {photo: [(0, None)] for photo in photos},
            source=source,
            load=base.engine_or_workers,
            on_view=session.watcher.stage("computing features"),
        )
        return describe(photos, source=source)
