"""BatchNormalization where an epoch has two steps: which statistics tell what the head has learned?

usage: python benchmarks/batch_norm.py FOLDER [SEED ...]     (FOLDER holds ants-bees/ and daisy-dandelion/)

Four cases of 53 or 63 train photos, at 128 px with the starter weights, each with Keras' momentum of 0.99, with a
momentum of 0.9, with the default (averages over one epoch) and with precise statistics. Split, features and views are
the same; a seed draws initial weights, dropout and order, so that training itself is the same to the bit but for the
epoch that is kept. Prints the medians over the seeds.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from imgreg.analysis.verdict import judge
from imgreg.analysis.verdict_rules import is_hidden_by_lag
from imgreg.config import Base, Photos, Recipe
from imgreg.data.augment import Augmenter
from imgreg.data.subsets import with_fewer
from imgreg.features.cache import FeatureCache
from imgreg.features.extract import FeatureSource
from imgreg.heads.batch_norm import uses_moving_statistics
from imgreg.heads.fit import fit_head
from imgreg.heads.training_curves import SplitFeatures
from imgreg.heads.views import Labelled
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.recipes import load_recipe
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.dataset import prepare_dataset
from imgreg.training.prepare import extract_views, labelled

SIGMOID = {
    "head.units": [64, 64, 64],
    "head.activation": "sigmoid",
    "head.normalization": "before_activation",
    "training.epochs": 20,
}
CASES: dict[str, tuple[str, int, str, dict[str, Any]]] = {
    "3 x 64 sigmoid, 20 epochs": ("ants-bees", 63, "plain", SIGMOID),
    "batch_norm_first, 15 epochs": ("ants-bees", 63, "batch_norm_first", {"training.epochs": 15}),
    "blog, daisy-dandelion": ("daisy-dandelion", 53, "blog", {}),
    "blog, ants-bees": ("ants-bees", 63, "blog", {}),
}
STATISTICS: dict[str, dict[str, Any]] = {
    "0.99": {"head.batch_norm_momentum": 0.99},
    "0.9": {"head.batch_norm_momentum": 0.9},
    "auto": {"head.batch_norm_momentum": "auto"},
    "precise": {"head.batch_norm_statistics": "precise"},
}


def photos_of(folder: Path, n_train: int, recipe: Recipe, cache: FeatureCache) -> tuple[Labelled, Labelled]:
    """So many train photos of a set, and all its validation photos."""
    watcher = Watcher(say=lambda line: print(line, file=sys.stderr))
    dataset = prepare_dataset(folder, Photos(folds=0), base=None, session=Session(watcher=watcher))
    dataset = replace(dataset, split=with_fewer(dataset.split, n_train, seed=(0,)))
    base = Backbone(Base(weights="starter"), watcher=watcher)
    source = FeatureSource(cache, base=base.identity)
    augmenter = Augmenter(recipe.augmentation, seed=0, size_px=base.image_size)
    extract_views(dataset, source=source, augmenter=augmenter, recipe=recipe, base=base, watcher=watcher)
    classes = dataset.index.classes
    train = labelled(dataset.split.train, classes=classes, source=source, augmenter=augmenter)
    return train, labelled(dataset.split.val, classes=classes, source=source)


def figures(recipe: Recipe, train: Labelled, val: Labelled, *, seed: int) -> dict[str, float]:
    history = fit_head(recipe, SplitFeatures(train, val, 2), seed=seed).history
    verdict = judge(history, val_labels=val.labels, moving_statistics=uses_moving_statistics(recipe.head))
    return {
        "trained": history.last.objective - history.last.weight_penalty,
        "train_loss": history.last.train_loss,
        "train_accuracy": history.last.train_accuracy,
        "best_epoch": history.best.epoch,
        "best_val_loss": history.best.val_loss,
        "best_val_accuracy": history.best.val_accuracy,
        "last_val_loss": history.last.val_loss,
        "lags": float(is_hidden_by_lag(verdict.evidence)),
    }


def rows(folder: Path, seeds: list[int], cache: FeatureCache) -> Iterator[str]:
    for case, (photos, n_train, name, overrides) in CASES.items():
        train, val = photos_of(folder / photos, n_train, load_recipe(name, overrides=overrides), cache)
        yield f"\n{case}: {len(train.labels)} train and {len(val.labels)} validation photos"
        yield "statistics | loss in training | train loss | accuracy | best val. loss (epoch) | accuracy | last | lags"
        for kind, settings in STATISTICS.items():
            recipe = load_recipe(name, overrides={**overrides, **settings})
            found = [figures(recipe, train, val, seed=seed) for seed in seeds]
            it = {key: statistics.median(one[key] for one in found) for key in found[0]}
            n_lag = sum(one["lags"] for one in found)
            yield (
                f"{kind:10} | {it['trained']:.3f} | {it['train_loss']:.3f} | {it['train_accuracy']:.0%} | "
                f"{it['best_val_loss']:.3f} ({it['best_epoch']:.0f}) | {it['best_val_accuracy']:.0%} | "
                f"{it['last_val_loss']:.3f} | {n_lag:.0f} of {len(seeds)}"
            )


def main(folder: Path, seeds: list[int]) -> None:
    with FeatureCache(cache_folder(), say=lambda line: print(line, file=sys.stderr)) as cache:
        for line in rows(folder, seeds, cache):
            print(line, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]] or [0, 1, 2])
