"""Is the default recipe better than the obvious baselines on the same features?

usage: python benchmarks/accuracy.py [--repeats N] [--rows A,B,...] DATA [DATA ...]
       python benchmarks/accuracy.py --results FILE [FILE ...]

Each DATA is a folder of photos; a split that it comes with is not used. All rows of a repeat have the same test photos
(a quarter), which nothing else sees, and the same features (bundled starter weights, their own image size, cached).
Of the other photos, heads train on four fifths and take their temperature (and a recipe that keeps the best epoch,
that too) from the rest, or are cross-validated (5 folds, the mean of the 5 heads answers), as `imgreg train` does and
`imgreg predict` answers. Logistic regression and nearest neighbours are fitted to all of them, their penalty and
number of neighbours chosen by 5-fold cross-validation inside.

rows   regularized           the default recipe
       regularized-5-folds   the same, cross-validated
       plain, blog           the blog's first and last model
       feature-extraction    Chollet 2021, Deep Learning with Python, 8.3.1: Flatten, Dense(256), Dropout(0.5), RMSprop
       finetune-block5       the default recipe, then VGG16's block5 trained on with it (--finetune block5); also block4
       plain-5-folds, ...    any recipe's name, with -5-folds behind it for its ensemble
       logistic-regression-flattened, logistic-regression-means, nearest-neighbours

Prints a line of JSON for each row of a repeat, then a table: mean test loss, accuracy and expected calibration error;
the ratio of the loss to that of the better logistic regression, with the 95 % interval of the paired difference over
the repeats (Nadeau & Bengio 2003); the mean rank over the sets.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier

from imgreg.analysis.baselines import FLATTENED, MEANS
from imgreg.analysis.calibration import fit_temperature
from imgreg.analysis.effects import paired_effects
from imgreg.analysis.metrics import calibration_error
from imgreg.config import Base, Recipe, Settings
from imgreg.data.augment import Augmenter
from imgreg.data.index import Photo, index_photos, labels_of
from imgreg.data.resample import resplit
from imgreg.data.split import Split, split_photos
from imgreg.features.cache import FeatureCache
from imgreg.features.extract import FeatureSource, extract
from imgreg.features.tta import tta_views
from imgreg.heads.calibration import apply_temperature
from imgreg.heads.forward import score
from imgreg.lazy_imports import load_keras
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.recipes import load_recipe
from imgreg.training.backbone import Backbone
from imgreg.training.baselines import predict_baselines
from imgreg.training.data_quality import describe
from imgreg.training.fit import fit_split, predict_with
from imgreg.training.prepare import Finetuning, Prepared, prepare_finetuning

NEIGHBOURS, FOLDS = "nearest-neighbours", "-5-folds"
FITTED = (FLATTENED, MEANS, NEIGHBOURS)
ROWS = (
    *("regularized", f"regularized{FOLDS}", "plain", "blog", "feature-extraction"),
    *FITTED,
)
TEST_FRACTION, VAL_FRACTION = 0.25, 0.2


def recipe_of(row: str) -> Recipe:
    name = row.removesuffix(FOLDS)
    if name.startswith("finetune-"):
        return load_recipe("regularized", overrides={"finetune.block": name.removeprefix("finetune-")})
    if name != "feature-extraction":
        return load_recipe(name)
    changes = {"head.dropout": 0.5, "optimizer.name": "rmsprop", "training.epochs": 20}
    return load_recipe("plain", overrides=changes).model_copy(update={"name": name})


class Bench:
    """One set of photos, its features in the cache."""

    def __init__(self, data: Path, cache: FeatureCache, rows: Sequence[str]) -> None:
        say = Watcher(say=lambda line: print(line, file=sys.stderr))
        index = index_photos(data, max_bad=0.05)
        self.classes, self.name = index.classes, data.name
        self.photos = tuple(replace(photo, split=None) for photo in index.photos)
        self.base = Backbone(Base(weights="starter"), watcher=say)
        self.source = FeatureSource(cache, base=self.base.identity)
        recipes = [recipe_of(row) for row in rows if row not in FITTED]
        wanted: dict[Photo, list[tuple[int, Augmenter | None]]] = {photo: [(0, None)] for photo in self.photos}
        for recipe in recipes:
            augmenter = self.augmenter(recipe)
            views = [(view, None) for view in tta_views(mirror=recipe.prediction.mirror)]
            views += [(view, augmenter) for view in range(1, recipe.n_views + 1)]
            for photo in self.photos:
                wanted[photo] += [view for view in views if view not in wanted[photo]]
        extract(wanted, source=self.source, load=lambda: self.base.engine, on_view=say.stage("computing features"))
        self.finetuning: dict[str, Finetuning] = {}
        for block in {recipe.finetune.block for recipe in recipes} - {"none"}:
            self.finetuning[block] = deep = prepare_finetuning(block, base=self.base, cache=cache)
            extract(
                wanted,
                source=deep.source,
                load=lambda layer=deep.source.layer: self.base.engine_cut_at(layer),
                on_view=say.stage("computing features"),
            )

    def augmenter(self, recipe: Recipe) -> Augmenter:
        return Augmenter(recipe.augmentation, seed=0, size_px=self.base.image_size)

    def answers(self, row: str, split: Split, *, seed: int) -> NDArray[np.floating]:
        """Train or fit one row, and give the test photos' probabilities, (n_test, n_classes)."""
        known = (*split.train, *split.val)
        if row in (FLATTENED, MEANS):
            found = predict_baselines(known, split.test, classes=self.classes, source=self.source, watcher=Watcher())
            return next(one.probabilities for one in found if one.name == row)
        if row == NEIGHBOURS:
            return self._neighbours(known, split.test)
        recipe = recipe_of(row)
        if row.endswith(FOLDS):
            test = split.test
            split = replace(split_photos(known, val_fraction=VAL_FRACTION, seed=seed, folds=5), test=test)
        prepared = Prepared(
            settings=Settings(recipe=recipe, base=Base(weights="starter")),
            classes=self.classes,
            source=self.source,
            augmenter=self.augmenter(recipe),
            finetuning=self.finetuning.get(recipe.finetune.block),
        )
        fitted = fit_split(prepared, split, seed=seed)
        held_out = fitted.history.val_probabilities[fitted.history.kept.epoch - 1]
        temperature = fit_temperature(labels_of(split.val, self.classes), held_out)
        return apply_temperature(predict_with(prepared, fitted, split.test), temperature)

    def _neighbours(self, known: Sequence[Photo], test: Sequence[Photo]) -> NDArray[np.floating]:
        search = GridSearchCV(
            KNeighborsClassifier(metric="cosine"), {"n_neighbors": [3, 5, 9, 15, 25]}, cv=5, scoring="accuracy"
        )
        search.fit(describe(known, source=self.source), labels_of(known, self.classes))
        n = search.best_params_["n_neighbors"]
        shares = search.predict_proba(describe(test, source=self.source))
        return (shares * n + 1) / (n + len(self.classes))  # Laplace's rule: no share is 0


def run(data: Sequence[Path], *, rows: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    found = []
    load_keras()
    with FeatureCache(cache_folder(), say=lambda line: print(line, file=sys.stderr)) as cache:
        benches = [Bench(folder, cache, rows) for folder in data]
        for bench in benches:
            for repeat in resplit(
                bench.photos, repeats=repeats, test_fraction=TEST_FRACTION, val_fraction=VAL_FRACTION, seed=0
            ):
                labels = labels_of(repeat.split.test, bench.classes)
                for row in rows:
                    started = time.perf_counter()
                    answers = bench.answers(row, repeat.split, seed=repeat.number)
                    loss, accuracy = score(answers, labels)
                    found.append(
                        {
                            "data": bench.name,
                            "repeat": repeat.number,
                            "row": row,
                            "n_known": len(repeat.split.train) + len(repeat.split.val),
                            "n_test": len(labels),
                            "loss": round(loss, 5),
                            "accuracy": round(accuracy, 5),
                            "calibration_error": round(calibration_error(labels, answers), 5),
                            "seconds": round(time.perf_counter() - started, 1),
                        }
                    )
                    print(json.dumps(found[-1]), flush=True)
    return found


def table(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of a Markdown table: a row each, a set a column, then the means."""
    sets, rows = (tuple(dict.fromkeys(one[key] for one in found)) for key in ("data", "row"))

    def column(name: str, row: str, figure: str) -> list[float]:
        return [one[figure] for one in found if (one["data"], one["row"]) == (name, row)]

    mean = {(name, row): fmean(column(name, row, "loss")) for name in sets for row in rows}
    better = {name: min((r for r in rows if r in (FLATTENED, MEANS)), key=lambda r: mean[name, r]) for name in sets}
    ranks = {
        row: fmean(sorted(mean[name, r] for r in rows).index(mean[name, row]) + 1 for name in sets) for row in rows
    }
    yield f"| test loss, accuracy | {' | '.join(sets)} | loss, accuracy, ECE | of the better regression's loss | rank |"
    yield f"|---|{'---|' * (len(sets) + 3)}"
    for row in sorted(rows, key=lambda row: ranks[row]):
        cells = [f"{mean[name, row]:.3f}, {fmean(column(name, row, 'accuracy')):.1%}" for name in sets]
        figures = [
            fmean(fmean(column(n, row, figure)) for n in sets) for figure in ("loss", "accuracy", "calibration_error")
        ]
        ratios = [mean[name, row] / mean[name, better[name]] for name in sets]
        yield (
            f"| {row} | {' | '.join(cells)} | {figures[0]:.3f}, {figures[1]:.1%}, {figures[2]:.3f} "
            f"| {fmean(ratios):.3f} ({min(ratios):.2f} to {max(ratios):.2f}) | {ranks[row]:.1f} |"
        )
    yield ""
    yield "Paired difference in test loss to the better logistic regression, with its 95 % interval:"
    for name in sets:
        first = next(one for one in found if one["data"] == name)
        if len(column(name, better[name], "loss")) < 2:
            continue
        pairs = {row: column(name, row, "loss") for row in (better[name], *(r for r in rows if r != better[name]))}
        for effect in paired_effects(pairs, n_train=first["n_known"], n_test=first["n_test"]):
            yield f"{name}: {effect.name} {effect.mean:+.3f} ({effect.low:+.3f} to {effect.high:+.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--rows", default=",".join(ROWS))
    parser.add_argument("--results", nargs="+", type=Path, help="Files of earlier lines of JSON: only the table.")
    parser.add_argument("data", nargs="*", type=Path)
    asked = parser.parse_args()
    if asked.results:
        lines = [line for path in asked.results for line in path.read_text().splitlines()]
        found = [json.loads(line) for line in lines if line.startswith("{")]
    else:
        found = run(asked.data, rows=asked.rows.split(","), repeats=asked.repeats)
    for line in table(found):
        print(line)


if __name__ == "__main__":
    main()
