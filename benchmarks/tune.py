"""Does tuning find a better recipe than the default, is TPE better than random search and KerasTuner, is dropping dear?

usage: python benchmarks/tune.py [--trials N] [--folds N] [--inner-folds N] [--epochs N] [--seconds-per-view S] DATA ...

Each DATA is a folder of photos; bundled starter weights, their own image size. Random search is run without dropping
trials; the same random trials are then read from the cache again with dropping at several thresholds, since what a
random search proposes does not depend on what it was told. TPE is run with dropping as `imgreg tune` does.
KerasTuner's BayesianOptimization (where keras-tuner is installed: `pip install -e '.[peers]'`) proposes recipes of the
same space, with the same number of trials and folds and without dropping.

Prints a line of JSON for each search of a set, then a table: loss inside (what the search saw) and outside (nested),
the default recipe's outside, the trainings, and how often the trial that wins without dropping was dropped. Lines on
stderr multiply out what the usual way, where every epoch goes through VGG16, would cost at the base's measured rate.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from imgreg.analysis.tune import DROP_Z, nested_score
from imgreg.config import Tuning
from imgreg.progress import Watcher
from imgreg.recipes.search_space import load_space
from imgreg.recipes.settings import build_settings
from imgreg.session import Session
from imgreg.training.nested_search import NestedSearch, search_nested
from imgreg.training.search import Sampler, distributions, tpe

try:
    import keras_tuner
except ImportError:
    keras_tuner = None

RUNS: list[tuple[str, Sampler, float]] = [
    ("random", RandomSampler, math.inf),
    *((f"random, dropped at {z:g}", RandomSampler, z) for z in (1.0, 1.5, DROP_Z, 3.0)),
    ("TPE", tpe, DROP_Z),
]


class KerasTunerSampler(BaseSampler):
    """What KerasTuner's BayesianOptimization proposes, its settings as they come, for the default search space."""

    def __init__(self, seed: int) -> None:
        space = keras_tuner.HyperParameters()
        for key, one in distributions(load_space()).items():
            if isinstance(one, CategoricalDistribution):
                space.Choice(key, list(one.choices))
            else:
                space.Float(key, one.low, one.high, sampling="log" if one.log else "linear")
        self._oracle = keras_tuner.oracles.BayesianOptimizationOracle(
            objective=keras_tuner.Objective("loss", "min"), max_trials=10_000, hyperparameters=space, seed=seed
        )
        self._oracle.verbose = 0
        self._folder = tempfile.TemporaryDirectory()  # it writes each trial into a file
        self._oracle._set_project_dir(self._folder.name, "tuner")
        self._proposed: dict[int, Any] = {}

    def infer_relative_search_space(self, _study: Study, _trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(self, *_: Any) -> dict[str, Any]:
        return {}

    def sample_independent(self, _study: Study, trial: FrozenTrial, name: str, _distribution: BaseDistribution) -> Any:
        if trial.number not in self._proposed:
            self._proposed[trial.number] = self._oracle.create_trial(f"tuner{trial.number}")
        return self._proposed[trial.number].hyperparameters.values[name]

    def after_trial(self, _study: Study, trial: FrozenTrial, _state: TrialState, values: Any) -> None:
        if trial.number in self._proposed:  # the default recipe was not proposed by it
            proposed = self._proposed[trial.number]
            self._oracle.update_trial(proposed.trial_id, {"loss": values[0]})
            proposed.status = "COMPLETED"
            self._oracle.end_trial(proposed)


if keras_tuner is not None:
    RUNS.append(("KerasTuner", KerasTunerSampler, math.inf))


def winners(found: NestedSearch) -> list[int]:
    return [*(one.picked for one in found.outer), found.last.best.number]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--inner-folds", type=int, default=3)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seconds-per-view", type=float, default=0.09, help="of VGG16 in Keras (extract.py)")
    given = parser.parse_args()
    settings = build_settings("regularized", {"weights": "starter", "epochs": given.epochs})
    session = Session(workers=1, watcher=Watcher(say=lambda line: print(line, file=sys.stderr)))
    table = ["| set | search | outside | default outside | difference, 95 % | inside | trainings | winners dropped |"]
    table.append("|---|---|---|---|---|---|---|---|")
    for data in given.data:
        complete: list[int] = []
        for name, sampler, drop_z in RUNS:
            began = time.monotonic()
            found = search_nested(
                data,
                settings=settings,
                space=load_space(),
                tuning=Tuning(trials=given.trials, folds=given.folds, inner_folds=given.inner_folds),
                session=session,
                sampler=sampler,
                drop_z=drop_z,
            )
            complete = complete or winners(found)
            lost = (
                sum(a != b for a, b in zip(winners(found), complete, strict=True)) if sampler is RandomSampler else None
            )
            n_trainings, nested = found.n_trained + found.n_kept, nested_score(found.outer, default="regularized")
            print(
                json.dumps(
                    {
                        "data": data.name,
                        "search": name,
                        "seconds": round(time.monotonic() - began),
                        "n_trained": found.n_trained,
                        "n_kept": found.n_kept,
                        "winners": winners(found),
                        "best": found.last.best.values,
                        "nested": nested.model_dump(mode="json"),
                        "outer": [one.model_dump(mode="json") for one in found.outer],
                    }
                ),
                flush=True,
            )
            effect = nested.effect
            table.append(
                f"| {data.name} | {name} | {nested.loss.mean:.3f}, {nested.accuracy.mean:.1%} | "
                f"{nested.default_loss.mean:.3f}, {nested.default_accuracy.mean:.1%} | {effect.mean:+.3f} "
                f"({effect.low:+.3f} to {effect.high:+.3f}) | {nested.inner_loss:.3f} | {n_trainings} | "
                f"{'' if lost is None else f'{lost} of {len(complete)}'} |"
            )
            n_photos = found.outer[0].n_train * (given.inner_folds - 1) / given.inner_folds
            epochs = settings.recipe.training.epochs
            print(
                f"{data.name}, {name}: every epoch through VGG16 would take {n_trainings} trainings x {epochs} epochs "
                f"x {n_photos:.0f} photos x {given.seconds_per_view:g} s = "
                f"{n_trainings * epochs * n_photos * given.seconds_per_view / 3600:.1f} h",
                file=sys.stderr,
                flush=True,
            )
    print("\n".join(table))


if __name__ == "__main__":
    main()
