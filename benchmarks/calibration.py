"""Do prediction sets cover what they promise, does a temperature pay, and are photos of another set told apart?

usage: python benchmarks/calibration.py DATA [DATA ...]

Each DATA is a folder of photos. Its features come through imgreg (bundled starter weights, 128 px, cached); a logistic
regression on the channels' means, its C chosen inside the train photos, gives out-of-fold probabilities in 5 folds.

coverage      1,000 times half of the photos set the thresholds, the other half is scored, per class
temperature   100 times n photos fit the temperature, the others are scored: mean change of the log loss; also for a
              regression that is nearly unpenalized, so overconfident, and for one that is penalized too much
novelty       80 % of a set are the references; the other 20 % are genuine, all photos of each other set are not

Prints a line of JSON for each row, then tables.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit, cross_val_predict

from imgreg.analysis.calibration import fit_temperature
from imgreg.analysis.conformal import conformal_thresholds, held_out_scores, prediction_sets
from imgreg.analysis.novelty import choose_references, distances, leave_one_out_threshold
from imgreg.config import Base
from imgreg.data.index import index_photos, labels_of
from imgreg.features.cache import FeatureCache
from imgreg.features.extract import FeatureSource, extract
from imgreg.heads.calibration import apply_temperature
from imgreg.heads.forward import cross_entropies
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.training.backbone import Backbone
from imgreg.training.data_quality import describe

LEVELS = (0.8, 0.9, 0.95)
ACCEPTED = (0.99, 0.95)
N_FITTED = (20, 40, 80, 160)
N_RESPLITS, N_DRAWS, N_SPLITS = 1000, 100, 10
Float64Array = NDArray[np.float64]
Row = dict[str, Any]
Described = tuple[Float64Array, NDArray[np.int64]]  # descriptors (n, 512) and labels (n,)


def described(data: Path) -> Described:
    """Compute the channels' means of each photo, or read them from the cache."""
    watcher = Watcher(say=lambda line: print(line, file=sys.stderr))
    index = index_photos(data, max_bad=0.05)
    base = Backbone(Base(weights="starter", image_size=128), watcher=watcher)
    with FeatureCache(cache_folder(), say=watcher.say) as cache:
        source = FeatureSource(cache, base=base.identity)
        extract({photo: [(0, None)] for photo in index.photos}, source=source, load=lambda: base.engine)
        return describe(index.photos, source=source).astype(np.float64), labels_of(index.photos, index.classes)


def scaled(descriptors: Float64Array) -> Float64Array:
    """Unit length, then the mean square of a channel at 1, so that the same C means the same in every set."""
    rows = descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)
    rows = rows - rows.mean(axis=0)
    return np.asarray(rows / np.sqrt(np.square(rows).mean()))


CLASSIFIERS: dict[str, Callable[[], LogisticRegression]] = {
    "C chosen": lambda: LogisticRegressionCV(
        Cs=np.logspace(-5, 0, 6),
        l1_ratios=(0,),
        cv=4,
        scoring="neg_log_loss",
        max_iter=300,
        use_legacy_attributes=False,
    ),
    "C = 1, overconfident": lambda: LogisticRegression(C=1.0, max_iter=300),
    "C = 1e-4, underconfident": lambda: LogisticRegression(C=1e-4, max_iter=300),
}


def out_of_fold(found: Described, classifier: LogisticRegression) -> Float64Array:
    """(n, n_classes) probabilities, each photo's by a classifier that never saw it"""
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    rows, labels = scaled(found[0]), found[1]
    return np.asarray(cross_val_predict(classifier, rows, labels, cv=folds, method="predict_proba"))


def coverage(name: str, labels: NDArray[np.int64], p: Float64Array) -> list[Row]:
    """Score prediction sets over N_RESPLITS halves of the held-out photos."""
    rows = []
    halves = list(StratifiedShuffleSplit(N_RESPLITS, test_size=0.5, random_state=0).split(p, labels))
    for level in LEVELS:
        covered, single, right = [], [], []
        for fitted, new in halves:
            scores = held_out_scores(labels[fitted], p[fitted], n_classes=p.shape[1])
            sets = prediction_sets(p[new], thresholds=conformal_thresholds(scores, confidence=level))
            hit = sets[np.arange(len(new)), labels[new]]
            covered.append([hit[labels[new] == k].mean() for k in range(p.shape[1])])
            answered = sets.sum(axis=1) == 1
            single.append(answered.mean())
            right.append(hit[answered].mean())
        rows.append(
            {
                "data": name,
                "level": level,
                "coverage_by_class": np.mean(covered, axis=0).round(4).tolist(),
                "answered": round(float(np.mean(single)), 4),
                "right_if_answered": round(float(np.mean(right)), 4),
                "accuracy": round(float((p.argmax(axis=1) == labels).mean()), 4),
            }
        )
    return rows


def temperature(name: str, kind: str, labels: NDArray[np.int64], p: Float64Array) -> Row:
    """Fit on n photos, score on the others: the mean change of the log loss, shrunk and plain."""
    draw = np.random.default_rng(0)
    change: dict[str, list[float]] = {}
    for n in (n for n in N_FITTED if n < len(labels) / 2):
        for _ in range(N_DRAWS):
            order = draw.permutation(len(labels))
            fitted, new = order[:n], order[n:]
            before = cross_entropies(p[new], labels[new]).mean()
            for how, options in (("", {}), (" plain", {"shrinkage": 0.0})):
                after = apply_temperature(p[new], fit_temperature(labels[fitted], p[fitted], **options))
                change.setdefault(f"{n}{how}", []).append(float(cross_entropies(after, labels[new]).mean() - before))
    return {
        "data": name,
        "classifier": kind,
        "log_loss": round(float(cross_entropies(p, labels).mean()), 4),
        "temperature": round(fit_temperature(labels, p), 3),
        "change": {n: round(float(np.mean(values)), 4) for n, values in change.items()},
    }


def novelty(name: str, found: Described, others: dict[str, Described]) -> list[Row]:
    """AUROC and shares refused, means over N_SPLITS draws of the references."""
    rows: dict[str, list[list[float]]] = {}
    splits = StratifiedShuffleSplit(N_SPLITS, test_size=0.2, random_state=0).split(*found)
    for kept, left in splits:
        references = choose_references(found[0][kept])
        own = distances(found[0][left], references=references)
        thresholds = [leave_one_out_threshold(references, accepted=share) for share in ACCEPTED]
        for other, (descriptors, _) in others.items():
            far = distances(descriptors, references=references)
            truth = np.r_[np.zeros(len(own)), np.ones(len(far))]
            shares = [float((side > at).mean()) for at in thresholds if at is not None for side in (own, far)]
            rows.setdefault(other, []).append([roc_auc_score(truth, np.r_[own, far]), *shares])
    names = ["auroc", *(f"{what}_at_{share}" for share in ACCEPTED for what in ("refused", "found"))]
    return [
        {"train": name, "other": other, **dict(zip(names, np.mean(values, axis=0).round(4).tolist(), strict=True))}
        for other, values in rows.items()
    ]


def main(folders: list[Path]) -> None:
    """Run all three on every set, and print."""
    sets = {folder.name: described(folder) for folder in folders}
    covered, fitted, far = [], [], []
    for name, found in sets.items():
        for kind, make in CLASSIFIERS.items():
            p = out_of_fold(found, make())
            fitted.append(temperature(name, kind, found[1], p))
            if make is CLASSIFIERS["C chosen"]:
                covered += coverage(name, found[1], p)
        far += novelty(name, found, {other: them for other, them in sets.items() if other != name})
    for row in (*covered, *fitted, *far):
        print(json.dumps(row))
    _print_coverage(covered)
    _print_temperature(fitted)
    if far:
        _print_novelty(far)


def _print_coverage(rows: Sequence[Row]) -> None:
    print("\n| photos | level | coverage by class | answered | right if answered | accuracy of all |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        by_class = ", ".join(f"{value:.3f}" for value in row["coverage_by_class"])
        print(f"| {row['data']} | {row['level']} | {by_class} | ", end="")
        print(f"{row['answered']:.3f} | {row['right_if_answered']:.3f} | {row['accuracy']:.3f} |")


def _print_temperature(rows: Sequence[Row]) -> None:
    print("\n| classifier | photos fitted to | mean change of the log loss | without shrinkage |")
    print("|---|---|---|---|")
    for kind in CLASSIFIERS:
        for n in N_FITTED:
            of = [row["change"] for row in rows if row["classifier"] == kind and f"{n}" in row["change"]]
            if of:
                shrunk, plain = (np.mean([change[f"{n}{how}"] for change in of]) for how in ("", " plain"))
                print(f"| {kind} | {n} | {shrunk:+.4f} | {plain:+.4f} |")


def _print_novelty(rows: Sequence[Row]) -> None:
    shown = ("auroc", *(f"{what}_at_{share}" for share in ACCEPTED for what in ("refused", "found")))
    print("\n| trained on | other photos | " + " | ".join(name.replace("_", " ") for name in shown) + " |")
    print("|---" * (2 + len(shown)) + "|")
    for row in rows:
        print(f"| {row['train']} | {row['other']} | " + " | ".join(f"{row[name]:.3f}" for name in shown) + " |")
    print("| mean | | " + " | ".join(f"{np.mean([row[name] for row in rows]):.3f}" for name in shown) + " |")


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
