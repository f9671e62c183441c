"""fit.py: curves that are honest, and training that repeats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from imgreg.config import Recipe
from imgreg.errors import DivergedError, FeatureError
from imgreg.heads import epochs, views
from imgreg.heads.build import build_head
from imgreg.heads.epochs import epochs_since_better
from imgreg.heads.fit import fit_head
from imgreg.heads.forward import probabilities
from imgreg.heads.plan import plan_head
from imgreg.heads.training_curves import FittedHead, SplitFeatures
from imgreg.heads.views import Labelled

HEAVY = {
    "head": {"units": (8,), "l2": 0.05, "dropout": 0.4, "normalization": "after_dropout"},
    "optimizer": {"learning_rate": 1e-2},
    "augmentation": {"backend": "keras", "views": 3},
}


def recipe(**tables: Any) -> Recipe:
    return Recipe.model_validate({"name": "test", "training": {"epochs": 4, "batch_size": 16}} | tables)


def fitted(train: Labelled, val: Labelled, *, seed: int = 0, **tables: Any) -> FittedHead:
    return fit_head(recipe(**tables), SplitFeatures(train, val, 2), seed=seed)


def cross_entropy(p: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(np.clip(p.astype(np.float64)[np.arange(len(p)), labels], 1e-7, 1 - 1e-7)).mean())


def test_the_same_seed_gives_the_same_bytes(train_set: Labelled, val_set: Labelled) -> None:
    """Dropout, augmentation, order and initial weights all repeat to the bit."""
    one, two = (fitted(train_set, val_set, **HEAVY) for _ in range(2))
    assert {name: array.tobytes() for name, array in one.heads[0].items()} == {
        name: array.tobytes() for name, array in two.heads[0].items()
    }
    assert one.history.val_probabilities.tobytes() == two.history.val_probabilities.tobytes()


def test_another_seed_gives_another_head(train_set: Labelled, val_set: Labelled) -> None:
    """The seed reaches the training."""
    one, two = (fitted(train_set, val_set, seed=seed, **HEAVY) for seed in (0, 1))
    assert not np.array_equal(one.heads[0]["hidden_1/kernel"], two.heads[0]["hidden_1/kernel"])


def test_clean_train_loss_equals_the_one_by_hand(train_set: Labelled, val_set: Labelled) -> None:
    """The kept head, answering by NumPy on unaugmented train photos, has the recorded train loss and accuracy."""
    result = fitted(train_set, val_set, **HEAVY)
    best = result.history.best
    plan = plan_head(recipe(**HEAVY).head, n_classes=2)
    p = probabilities(train_set.all(0), plan=plan, weights=result.heads[0])
    assert cross_entropy(p, train_set.labels) == pytest.approx(best.train_loss, abs=1e-6)
    assert (p.argmax(1) == train_set.labels).mean() == best.train_accuracy


def test_validation_loss_equals_the_one_by_hand(train_set: Labelled, val_set: Labelled) -> None:
    """Every val_loss is the plain cross-entropy of the recorded probabilities; the kept head gives the best's."""
    result = fitted(train_set, val_set, **HEAVY)
    for row, p in zip(result.history.epochs, result.history.val_probabilities, strict=True):
        assert cross_entropy(p, val_set.labels) == pytest.approx(row.val_loss, abs=1e-9)
    plan = plan_head(recipe(**HEAVY).head, n_classes=2)
    kept = probabilities(val_set.all(0), plan=plan, weights=result.heads[0])
    np.testing.assert_allclose(kept, result.history.val_probabilities[result.history.best.epoch - 1], atol=1e-6)


def test_the_last_head_is_kept_where_the_recipe_says_so(train_set: Labelled, val_set: Labelled) -> None:
    """The best epoch lies before the last: the kept head is the last epoch's, or else the best one's, to the bit."""
    tables = HEAVY | {"head": {"units": (32,)}, "augmentation": {}, "optimizer": {"learning_rate": 3e-2}}
    for keep in ("best", "last"):
        result = fitted(train_set, val_set, **tables, training={"epochs": 12, "batch_size": 16, "keep": keep})
        history = result.history
        assert history.best.epoch < history.last.epoch
        assert history.kept == getattr(history, keep)
        plan = plan_head(recipe(**tables).head, n_classes=2)
        answers = probabilities(val_set.all(0), plan=plan, weights=result.heads[0])
        assert np.abs(answers - history.val_probabilities[history.kept.epoch - 1]).max() < 1e-6


def test_early_stopping_keeps_the_best_head(train_set: Labelled, val_set: Labelled) -> None:
    """A training that was stopped has no last epoch in the schedule's sense; asking for it is an error."""
    with pytest.raises(ValueError, match=r"keep.*early stopping"):
        recipe(training={"epochs": 12, "patience_epochs": 2, "keep": "last"})


def test_own_probabilities_are_those_of_the_clean_train_photos(train_set: Labelled, val_set: Labelled) -> None:
    """Each epoch's train loss is the mean of what the train photos' own probabilities cost."""
    history = fitted(train_set, val_set, **HEAVY).history
    own = history.train_true_class
    assert own is not None
    assert own.shape == (4, len(train_set.labels))
    np.testing.assert_allclose(-np.log(own.astype(np.float64)).mean(axis=1), history.column("train_loss"), atol=1e-6)


def test_validation_is_never_augmented(train_set: Labelled, val_set: Labelled) -> None:
    """Only view 0 of validation photos is ever asked for; of train photos view 0 and the recipe's."""
    asked: dict[str, set[int]] = {"train": set(), "val": set()}

    def watched(side: str, photos: Labelled) -> Labelled:
        return replace(photos, features=lambda view, rows: asked[side].add(view) or photos.features(view, rows))

    fitted(watched("train", train_set), watched("val", val_set), **HEAVY)
    assert asked == {"train": {0, 1, 2, 3}, "val": {0}}


def test_epoch_e_trains_on_view_1_plus_e_mod_k(train_set: Labelled, val_set: Labelled) -> None:
    """With 3 views, epochs 1 to 4 train on views 1, 2, 3, 1."""
    order: list[int] = []

    def watched(view: int, rows: np.ndarray) -> np.ndarray:
        if len(rows) == len(train_set.labels):
            order.append(view)
        return train_set.features(view, rows)

    fitted(replace(train_set, features=watched), val_set, **HEAVY)
    assert order == [0, 1, 2, 3]  # view 1 is kept for epoch 4
    one_view = fitted(train_set, val_set, **(HEAVY | {"augmentation": {"backend": "keras", "views": 1}}))
    four = replace(train_set, features=lambda view, rows: train_set.features(min(view, 1), rows))
    same = fitted(four, val_set, **(HEAVY | {"augmentation": {"backend": "keras", "views": 4}}))
    assert one_view.history.val_probabilities.tobytes() == same.history.val_probabilities.tobytes()


@pytest.mark.parametrize("batch_size", [16, 7])
def test_features_read_in_portions_train_the_same_head(
    train_set: Labelled, val_set: Labelled, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    """With no room in memory the same batches are read portion by portion: the same bits come out."""
    tables = HEAVY | {"training": {"epochs": 4, "batch_size": batch_size}}
    in_memory = fitted(train_set, val_set, **tables)
    monkeypatch.setattr(epochs, "KEPT_BYTES", 0)
    monkeypatch.setattr(views, "PORTION_BYTES", 2 * batch_size * 2 * 2 * 2 * 6)  # two batches
    most: list[int] = []

    def watched(view: int, rows: np.ndarray) -> np.ndarray:
        most.append(len(rows))
        return train_set.features(view, rows)

    in_portions = fitted(replace(train_set, features=watched), val_set, **tables)
    for name, array in in_memory.heads[0].items():
        assert array.tobytes() == in_portions.heads[0][name].tobytes(), name
    assert in_memory.history.val_probabilities.tobytes() == in_portions.history.val_probabilities.tobytes()
    assert most.count(2 * batch_size) >= 4


def test_the_penalty_is_in_the_objective_and_not_in_the_losses(train_set: Labelled, val_set: Labelled) -> None:
    """With L2 alone the objective exceeds the clean train loss by the penalty; val_loss is free of it."""
    tables = {
        "head": {"units": (8,), "l2": 0.5},
        "optimizer": {"learning_rate": 1e-6},
        "training": {"epochs": 1, "batch_size": 50},
    }
    result = fitted(train_set, val_set, **tables)
    (row,) = result.history.epochs
    by_hand = 0.5 * float(np.square(result.heads[0]["hidden_1/kernel"].astype(np.float64)).sum())
    assert row.weight_penalty == pytest.approx(by_hand, rel=1e-5)
    assert row.objective == pytest.approx(row.train_loss + row.weight_penalty, abs=2e-3)
    assert row.val_loss == pytest.approx(cross_entropy(result.history.val_probabilities[0], val_set.labels), abs=1e-9)
    assert row.weight_penalty > 1


def test_dropout_and_batch_normalization_are_off_in_scoring(train_set: Labelled, val_set: Labelled) -> None:
    """Photos scored one at a time get the recorded probabilities: no dropout, no batch statistics."""
    tables = HEAVY | {"head": {"units": (8,), "dropout": 0.9, "normalization": "before_activation"}}
    result = fitted(train_set, val_set, **tables)
    plan = plan_head(recipe(**tables).head, n_classes=2)
    alone = np.concatenate(
        [probabilities(photo[None], plan=plan, weights=result.heads[0]) for photo in val_set.all(0)]
    )  # one at a time: batch statistics would be degenerate
    np.testing.assert_allclose(alone, result.history.val_probabilities[result.history.best.epoch - 1], atol=1e-5)


def test_dropout_is_on_in_training(train_set: Labelled, val_set: Labelled) -> None:
    """With 90 % dropout the objective is far from the clean loss of nearly the same weights."""
    still = {"optimizer": {"learning_rate": 1e-7}, "training": {"epochs": 1}}
    with_dropout = fitted(train_set, val_set, head={"units": (8,), "dropout": 0.9}, **still).history.last
    without = fitted(train_set, val_set, head={"units": (8,)}, **still).history.last
    assert abs(without.objective - without.train_loss) < 1e-3
    assert abs(with_dropout.objective - with_dropout.train_loss) > 0.05


def test_patience_stops_on_plain_validation_cross_entropy(train_set: Labelled, val_set: Labelled) -> None:
    """Training ends `patience` epochs after the best one, and the best is kept."""
    result = fitted(
        train_set,
        val_set,
        optimizer={"learning_rate": 0.05},
        training={"epochs": 200, "batch_size": 16, "patience_epochs": 3},
    )
    assert result.history.last.epoch == result.history.best.epoch + 3 < 200


def test_patience_counts_as_keras() -> None:
    """keras.callbacks.EarlyStopping stops after the same epoch, on random losses and any min_delta."""
    import keras

    draw = np.random.default_rng(0)
    n_stopped = 0
    for min_delta in (0.0, 0.02, 0.1):
        for patience in (1, 2, 5):
            losses = list(np.round(np.exp(-np.arange(40) / 8) + draw.normal(0, 0.02, 40), 3))
            callback = keras.callbacks.EarlyStopping("val_loss", min_delta=min_delta, patience=patience, mode="min")
            model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
            model.stop_training = False
            callback.set_model(model)
            callback.on_train_begin()
            for number, loss in enumerate(losses):
                callback.on_epoch_end(number, {"val_loss": loss})
                waited = epochs_since_better(losses[: number + 1], min_delta=min_delta)
                assert model.stop_training == (waited >= patience), (min_delta, patience, number)
                if model.stop_training:
                    n_stopped += 1
                    break
    assert n_stopped > 5


def test_min_delta_stops_while_the_loss_still_creeps_down(train_set: Labelled, val_set: Labelled) -> None:
    """With a min_delta that no epoch reaches training ends after the patience; the lowest loss is kept all the same."""
    settings = {"optimizer": {"learning_rate": 1e-4}}
    training = {"epochs": 20, "batch_size": 16, "patience_epochs": 4, "min_delta": 5.0}
    history = fitted(train_set, val_set, **settings, training=training).history
    assert history.last.epoch == 5  # the first is always better than none
    assert history.best.val_loss < history.epochs[0].val_loss


def test_diverging_is_an_error_that_says_what_to_do(train_set: Labelled, val_set: Labelled) -> None:
    """A learning rate that blows the weights up ends training at once."""
    wild = {"optimizer": {"name": "sgd", "learning_rate": 10.0}, "head": {"l2": 10.0, "activation": "elu"}}
    with pytest.raises(DivergedError, match=r"diverged in epoch \d+: .* NaN or infinite.*--learning-rate 1"):
        fitted(train_set, val_set, training={"epochs": 40, "batch_size": 16}, **wild)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("side", ["train", "val"])
@pytest.mark.parametrize("kept", [True, False], ids=["kept in memory", "read in portions"])
def test_a_feature_that_is_not_finite_is_refused(
    train_set: Labelled, val_set: Labelled, bad: float, side: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One such value among all is an error before a head is trained on it, whatever the network would make of it."""

    def damaged(view: int, rows: np.ndarray) -> np.ndarray:
        features = (train_set if side == "train" else val_set).features(view, rows).copy()
        features[rows == 7, 0, 1, 3] = bad
        return features

    if not kept:
        monkeypatch.setattr(epochs, "KEPT_BYTES", 0)
    sets = {"train": train_set, "val": val_set}
    sets[side] = Labelled(damaged, sets[side].labels)
    with pytest.raises(FeatureError, match="1 of .* photos have NaN or infinite features"):
        fitted(**sets)


def test_weights_that_are_not_finite_are_noticed_behind_a_finite_loss(train_set: Labelled) -> None:
    """A dead relu hides a NaN in its unit: the loss is finite, and the weights give it away."""
    model = build_head(recipe(head={"units": (8,)}).head, feature_shape=(2, 2, 6), n_classes=2, seed=0)
    calm = epochs.HeadEpoch(0.5, 0.0, *[np.full((3, 2), 0.5, np.float32)] * 2)
    assert epochs.not_finite(model, calm) is None
    kernel = model.layers[1].kernel
    kernel.assign(kernel.numpy() * np.nan)
    assert epochs.not_finite(model, calm) == "the weights became"


def test_parameters_are_counted(train_set: Labelled, val_set: Labelled) -> None:
    """24 inputs, 8 hidden units, 2 classes: 24 * 8 + 8 + 8 * 2 + 2 trainable weights."""
    assert fitted(train_set, val_set, head={"units": (8,)}).n_parameters == 24 * 8 + 8 + 8 * 2 + 2


def test_a_head_leaves_nothing_behind(train_set: Labelled, val_set: Labelled) -> None:
    """A study trains hundreds of heads in one process: neither graphs nor variables of one outlive it."""
    import gc

    def alive() -> int:
        gc.collect()
        return sum(type(thing).__name__ in ("FuncGraph", "ResourceVariable") for thing in gc.get_objects())

    fitted(train_set, val_set, **HEAVY)
    before = alive()
    for _ in range(2):
        fitted(train_set, val_set, **HEAVY)
    assert alive() <= before
