"""side_by_side.py: heads trained at once are the heads trained alone."""

from __future__ import annotations

import pytest

from conftest import Trained
from imgreg.config import Settings
from imgreg.features.cache import FeatureCache
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.dataset import Dataset, prepare_dataset
from imgreg.training.parallel import fit_in_parallel
from imgreg.training.prepare import Prepared, prepare

RECIPES = {
    "a": {"head": {"units": (8,), "dropout": 0.5}, "training": {"epochs": 12, "batch_size": 4}},
    "b": {"head": {"units": (16,), "l2": 0.01}, "training": {"epochs": 12, "batch_size": 4}},
    "c": {"head": {"units": (8, 8)}, "training": {"epochs": 12, "batch_size": 4}},
}


def prepared(trained: Trained, cache: FeatureCache, **recipes: dict[str, object]) -> tuple[Dataset, list[Prepared]]:
    watcher = Watcher()
    all_settings = [
        Settings.model_validate(
            {
                "photos": {"max_bad": 0.1, "folds": 0},
                "base": {"weights": "starter", "image_size": 64},
                "recipe": {"name": name, **tables},
            }
        )
        for name, tables in recipes.items()
    ]
    dataset = prepare_dataset(trained.data, all_settings[0].photos, base=None, session=Session(watcher=watcher))
    base = Backbone(all_settings[0].base, watcher=watcher)
    return dataset, [prepare(dataset, base=base, settings=one, cache=cache, watcher=watcher) for one in all_settings]


def test_three_at_once_are_bit_for_bit_as_one_at_a_time(trained: Trained) -> None:
    """Neither the order nor the neighbours of a head change it."""
    with FeatureCache(cache_folder(), say=print) as cache:
        dataset, ready = prepared(trained, cache, **RECIPES)
        alone = fit_in_parallel(dataset, ready, session=Session(), n_at_once=1)
        at_once = fit_in_parallel(dataset, ready, session=Session(), n_at_once=3)
    for one, other in zip(alone, at_once, strict=True):
        assert one.fitted.heads[0].keys() == other.fitted.heads[0].keys()
        for name, array in one.fitted.heads[0].items():
            assert array.tobytes() == other.fitted.heads[0][name].tobytes(), name
        assert one.fitted.history.val_probabilities.tobytes() == other.fitted.history.val_probabilities.tobytes()


@pytest.mark.parametrize("n_at_once", [1, 2])
def test_an_error_stops_the_others(trained: Trained, n_at_once: int) -> None:
    """What goes wrong beside a head that has 100,000 epochs to go comes out, and that head ends with it."""
    endless = RECIPES["b"] | {"training": {"epochs": 100_000, "batch_size": 4}}
    epochs: list[str] = []

    def step(stage: str, done: int, total: int, note: str) -> None:
        epochs.append(stage)
        if epochs.count("training " + ("broken" if n_at_once == 2 else "endless")) == 3:
            raise RuntimeError("the disk is gone")

    with FeatureCache(cache_folder(), say=print) as cache:
        dataset, ready = prepared(trained, cache, endless=endless, broken=endless)
        with pytest.raises(RuntimeError, match="the disk is gone"):
            fit_in_parallel(dataset, ready, session=Session(watcher=Watcher(step=step)), n_at_once=n_at_once)
    assert epochs.count("training endless") < 1000
