"""Many splits of the same photos, for comparisons that repeat: new train, validation and test sets each time.

Shares are exact to a photo in every class (stratified); photos with the same bytes, or of one family
(training/near_duplicates.py), stay in one split.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imgreg.data.index import Photo
from imgreg.data.split import Split
from imgreg.errors import DatasetError


@dataclass(frozen=True)
class Repeat:
    """One repetition: its number counted from 1, its fold counted from 1 (0 without folds), and its split."""

    number: int
    fold: int
    split: Split


def resplit(
    photos: Sequence[Photo], *, repeats: int, folds: int = 0, test_fraction: float, val_fraction: float, seed: int
) -> tuple[Repeat, ...]:
    """Draw the splits of a repeated comparison; a split that the user gave is not looked at.

    Parameters
    ----------
    repeats : int
        Number of random splits.
    folds : int, optional
        0, or 2 and more: each repeat then gives so many splits, and every photo is tested once in it.
    test_fraction : float
        Of all photos, where there are no folds.
    val_fraction : float
        Of the rest.

    Returns
    -------
    tuple of Repeat
        repeats x max(folds, 1) splits; more repeats begin with the same ones.

    Raises
    ------
    DatasetError
        If a class is too small for a photo in every split.

    References
    ----------
    Kohavi 1995 (stratified folds); copies are kept together as in scikit-learn's StratifiedGroupKFold.
    """
    _refuse_small_classes(photos, folds=folds)
    drawn: list[Repeat] = []
    for number in range(1, repeats + 1):
        draw = np.random.default_rng([seed, number])
        n_parts = folds or 1
        tested = _dealt(photos, shares=[1 / folds] * folds if folds else [test_fraction], draw=draw)
        for fold in range(n_parts):
            test = tested[fold]
            rest = [photo for i, photo in enumerate(photos) if i not in test]
            (held,) = _dealt(rest, shares=[val_fraction], draw=np.random.default_rng([seed, number, fold]))
            drawn.append(
                Repeat(
                    number,
                    fold + 1 if folds else 0,
                    Split(
                        train=tuple(photo for i, photo in enumerate(rest) if i not in held),
                        val=tuple(photo for i, photo in enumerate(rest) if i in held),
                        test=tuple(photos[i] for i in sorted(test)),
                        given=False,
                        leaks=0,
                    ),
                )
            )
    return tuple(drawn)


def _dealt(photos: Sequence[Photo], *, shares: Sequence[float], draw: np.random.Generator) -> list[set[int]]:
    """Deal rows into parts of these shares, class by class; what is left over belongs to no part.

    Copies of a photo go together, with the class of the first of them.
    """
    copies: dict[str, list[int]] = defaultdict(list)
    for i, photo in enumerate(photos):
        copies[photo.kept_with].append(i)
    by_class: dict[str, list[list[int]]] = defaultdict(list)
    for rows in copies.values():
        by_class[photos[rows[0]].label].append(rows)
    parts: list[set[int]] = [set() for _ in shares]
    whole = sum(shares) > 1 - 1e-9
    for number, label in enumerate(sorted(by_class)):
        groups = by_class[label]
        order = draw.permutation(len(groups))
        bounds = np.round(np.cumsum([0.0, *shares]) * len(groups)).astype(int)
        for part, (start, stop) in enumerate(itertools.pairwise(bounds)):
            last = whole and part == len(shares) - 1
            stop = len(groups) if last else max(stop, start + 1)
            # each class begins with another part, so that no fold gets every class's larger share
            into = (part + number) % len(shares) if whole else part
            parts[into].update(row for i in order[start:stop] for row in groups[i])
    return parts


def _refuse_small_classes(photos: Sequence[Photo], *, folds: int) -> None:
    """A photo in two classes counts for the first."""
    different = Counter({photo.kept_with: photo.label for photo in reversed(photos)}.values())
    least = max(folds, 3)
    for label in sorted({photo.label for photo in photos}):
        if (n := different[label]) < least:
            raise DatasetError(
                f"class {label!r} has {n} different photos: {f'{folds} folds' if folds > 3 else 'repeats'} need at "
                f"least {least}, one per split. Add photos of this "
                f"class{', or use fewer folds' if folds > 3 else ''}."
            )
