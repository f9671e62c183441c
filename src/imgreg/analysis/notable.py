"""Which photos are worth a look: the worst mistakes, the least certain answers, and what was memorized.

In: a run. Out: rows of its split, the most instructive first. Must not know: photos' files, and how they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from imgreg.analysis.performance import scored_photos
from imgreg.runs.folder import Run

N_MISTAKES = 9
N_UNCERTAIN = 6
N_MEMORIZED = 6


def worst_mistakes(labels: ArrayLike, probabilities: ArrayLike, *, limit: int) -> NDArray[np.intp]:
    """Rows answered wrong, those first whose own class got the least.

    Parameters
    ----------
    labels : (n,) int
    probabilities : (n, n_classes)

    Examples
    --------
    >>> worst_mistakes([0, 0, 1], [[0.9, 0.1], [0.2, 0.8], [0.9, 0.1]], limit=5)
    array([2, 1])
    """
    true, p = np.asarray(labels), np.asarray(probabilities)
    own = p[np.arange(len(p)), true]
    order = np.argsort(own, kind="stable")
    return np.asarray(order[p.argmax(axis=1)[order] != true[order]][:limit])


def least_certain(probabilities: ArrayLike, *, limit: int) -> NDArray[np.intp]:
    """Rows whose two most probable classes are closest, right or wrong.

    >>> least_certain([[0.9, 0.1], [0.45, 0.55], [0.3, 0.7]], limit=2)
    array([1, 2])
    """
    two = np.sort(np.asarray(probabilities), axis=1)[:, -2:]
    return np.argsort(two[:, 1] - two[:, 0], kind="stable")[:limit]


def most_memorized(train_own: NDArray[np.float32] | None, *, best: int, limit: int) -> NDArray[np.intp]:
    """Train photos whose class had half or less when validation was at its best and more at the end (curves.memorized).

    Parameters
    ----------
    train_own : (n_epochs, n_train)
        Each photo's own class; None in a run of an older imgreg.
    best : int
        Row of the best epoch.

    Returns
    -------
    (n,) int
        Those first whose own class gained the most since.
    """
    if train_own is None:
        return np.empty(0, dtype=np.intp)
    gained = train_own[-1] - train_own[best]
    order = np.argsort(-gained, kind="stable")
    learned = (train_own[best] <= 0.5) & (train_own[-1] > 0.5)
    return np.asarray(order[learned[order]][:limit])


@dataclass(frozen=True)
class Notable:
    """Rows of run.split that a report shows, the most instructive first."""

    mistakes: tuple[int, ...]
    uncertain: tuple[int, ...]  # right answers only: the wrong ones are among the mistakes
    memorized: tuple[int, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        return tuple(dict.fromkeys((*self.mistakes, *self.uncertain, *self.memorized)))


def notable_photos(run: Run) -> Notable:
    """Choose by the kept head on the photos it is scored on, and by the history of the train photos."""
    scored = scored_photos(run)
    p, rows = scored.probabilities, np.array(scored.rows, dtype=np.intp)
    right = np.flatnonzero(p.argmax(axis=1) == scored.labels)
    train = [i for i, row in enumerate(run.split) if row.on("train")]
    own, best = run.history.train_true_class, run.summary.best_epoch - 1
    return Notable(
        mistakes=tuple(rows[worst_mistakes(scored.labels, p, limit=N_MISTAKES)].tolist()),
        uncertain=tuple(rows[right[least_certain(p[right], limit=N_UNCERTAIN)]].tolist()),
        memorized=tuple(train[i] for i in most_memorized(own, best=best, limit=N_MEMORIZED)),
    )
