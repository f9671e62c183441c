"""Which lowered learning rate? The recipe blog at several, with Keras' default 1e-3 as the control.

usage: python benchmarks/learning_rate.py DATA [SEED ...]

Every rate and seed sees the same split, features and views; a seed draws initial weights, dropout and order.
Prints a line of JSON for each training, then a table of medians over the seeds.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from imgreg.config import Base, Photos
from imgreg.data.augment import Augmenter
from imgreg.features.cache import FeatureCache
from imgreg.features.extract import FeatureSource
from imgreg.heads.fit import fit_head
from imgreg.heads.training_curves import SplitFeatures
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.recipes import load_recipe
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.dataset import prepare_dataset
from imgreg.training.prepare import extract_views, labelled

RATES = (1e-3, 3e-4, 1e-4, 3e-5, 1e-5)


def main(data: Path, seeds: list[int]) -> None:
    watcher = Watcher(say=lambda line: print(line, file=sys.stderr))
    dataset = prepare_dataset(data, Photos(folds=0), base=None, session=Session(watcher=watcher))
    base = Backbone(Base(weights="starter"), watcher=watcher)
    classes, split = dataset.index.classes, dataset.split
    rows, blog = [], load_recipe("blog")
    with FeatureCache(cache_folder(), say=watcher.say) as cache:
        source = FeatureSource(cache, base=base.identity)
        augmenter = Augmenter(blog.augmentation, seed=0, size_px=base.image_size)
        extract_views(dataset, source=source, augmenter=augmenter, recipe=blog, base=base, watcher=watcher)
        trials = [("plain", 1e-3), *(("blog", rate) for rate in RATES)]
        for name, rate in trials:
            recipe = load_recipe(name, overrides={"optimizer.learning_rate": rate})
            for seed in seeds:
                sides = SplitFeatures(
                    labelled(split.train, classes=classes, source=source, augmenter=augmenter),
                    labelled(split.val, classes=classes, source=source),
                    n_classes=len(classes),
                )
                history = fit_head(recipe, sides, seed=seed).history
                best, last = history.best, history.last
                rows.append(
                    {
                        "data": data.name,
                        "recipe": name,
                        "rate": rate,
                        "seed": seed,
                        "best_epoch": best.epoch,
                        "best_val_loss": best.val_loss,
                        "best_val_accuracy": best.val_accuracy,
                        "last_train_loss": last.train_loss,
                        "last_val_loss": last.val_loss,
                        "last_val_accuracy": last.val_accuracy,
                        "last_gap": last.gap,
                    }
                )
                print(json.dumps(rows[-1]), flush=True)
    print(f"\n{data.name}, medians of seeds {seeds}")
    print("recipe       rate    best val (epoch)  best acc  last val  last acc  last train  last gap")
    for name, rate in trials:
        median = {
            key: statistics.median(row[key] for row in rows if (row["recipe"], row["rate"]) == (name, rate))
            for key in rows[0]
            if key not in ("data", "recipe", "rate", "seed")
        }
        print(
            "{:12} {:<7g} {best_val_loss:.3f} ({best_epoch:>3.0f})       {best_val_accuracy:.3f}     "
            "{last_val_loss:.3f}     {last_val_accuracy:.3f}     {last_train_loss:.3f}       {last_gap:.3f}".format(
                name, rate, **median
            )
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]] or [0, 1, 2])
