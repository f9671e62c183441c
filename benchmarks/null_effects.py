"""How often does a cross-validated comparison call one of two equally good heads better?

usage: python benchmarks/null_effects.py [--draws N] [--photos N] [--folds K]

Each draw makes a new dataset (two Gaussian classes in 64 dimensions, the strength of the features drawn too) and
trains a small network on it twice, K folds each, the two differing in their seeds alone: what one is better by is luck.
The out-of-fold probabilities go through `compare`'s own test (analysis/photo_effects.py). Prints the share called
better or worse, or said to get more or fewer photos right; at most 5 % should be called better in either way. A second
line plants a real difference (the other network sees half of the features), so that a test which never calls anything
is noticed.
"""

from __future__ import annotations

import argparse
import warnings
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neural_network import MLPClassifier

from imgreg.analysis.photo_effects import photo_effects
from imgreg.runs.folder import Run, SplitRow

DIMENSIONS = 64


def draw_photos(rng: np.random.Generator, *, n_photos: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(n, 64) features and (n,) labels; the classes' means lie 1.5 to 3 standard deviations apart."""
    labels = np.arange(n_photos) % 2
    towards = rng.normal(size=DIMENSIONS)
    towards *= rng.uniform(1.5, 3.0) / np.linalg.norm(towards)
    return rng.normal(size=(n_photos, DIMENSIONS)) + np.outer(labels - 0.5, towards), labels


def splitter(folds: int) -> StratifiedKFold:
    return StratifiedKFold(folds, shuffle=True, random_state=0)


def out_of_fold(
    features: NDArray[np.float64], labels: NDArray[np.int64], *, folds: int, seed: int
) -> NDArray[np.float64]:
    """(n, 2) probabilities, each photo's by the network that did not see it."""
    head = MLPClassifier((16,), alpha=0.1, learning_rate_init=0.01, max_iter=60, random_state=seed)
    return np.asarray(cross_val_predict(head, features, labels, cv=splitter(folds), method="predict_proba"))


def as_run(name: str, probabilities: NDArray[np.float64], labels: NDArray[np.int64], fold_of: NDArray[np.int64]) -> Run:
    """What photo_effects reads of a run: its classes, its one epoch and its validation photos."""
    rows = tuple(
        SplitRow(f"{i}.jpg", str(label), f"fold-{fold}", f"{i:064}")
        for i, (label, fold) in enumerate(zip(labels, fold_of, strict=True))
    )
    summary = SimpleNamespace(name=name, recipe=name, classes=("0", "1"), best_epoch=1, overrides=(), recipe_name=name)
    history = SimpleNamespace(val_probabilities=[np.clip(probabilities, 1e-7, 1 - 1e-7)])
    return cast(Run, SimpleNamespace(summary=summary, history=history, split=rows))


def words(*, draws: int, n_photos: int, folds: int, planted: bool) -> dict[str, int]:
    """How often each word is said of the second network."""
    found: dict[str, int] = {}
    for draw in range(draws):
        features, labels = draw_photos(np.random.default_rng([7, draw]), n_photos=n_photos)
        other = features[:, : DIMENSIONS // 2] if planted else features
        fold_of = np.empty(n_photos, dtype=np.int64)
        for number, (_, tested) in enumerate(splitter(folds).split(features, labels), start=1):
            fold_of[tested] = number
        runs: list[Any] = [
            as_run(name, out_of_fold(seen, labels, folds=folds, seed=2 * draw + k), labels, fold_of)
            for k, (name, seen) in enumerate((("first", features), ("second", other)))
        ]
        (effect,) = photo_effects(runs)
        word = effect.word
        if not effect.is_clear and effect.is_clear_in_accuracy():
            word = "more photos right" if len(effect.fixed) > len(effect.broken) else "fewer photos right"
        found[word] = found.get(word, 0) + 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--photos", type=int, default=120)
    parser.add_argument("--folds", type=int, default=5)
    asked = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for planted in (False, True):
        counts = words(draws=asked.draws, n_photos=asked.photos, folds=asked.folds, planted=planted)
        told = ", ".join(f"{word} {n / asked.draws:.1%}" for word, n in sorted(counts.items()))
        print(f"{'half of the features taken away' if planted else 'no difference'}: {told}", flush=True)


if __name__ == "__main__":
    main()
