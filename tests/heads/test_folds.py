"""fit.py with folds: several heads trained together are each as if trained alone, and their scores are pooled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgreg.config import Recipe
from imgreg.heads import fit
from imgreg.heads.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from imgreg.heads.ensemble import joined, separated
from imgreg.heads.epochs import Hooks
from imgreg.heads.fit import fit_head
from imgreg.heads.forward import cross_entropies, probabilities
from imgreg.heads.plan import plan_head
from imgreg.heads.training_curves import FittedHead, Fold, SplitFeatures
from imgreg.heads.views import Labelled

EPOCHS = 3
STATEFUL: dict[str, dict[str, Any]] = {  # each with a state of its own that another head must not see
    "dropout, moving statistics, scaling, Adam": {
        "head": {"units": (8,), "l2": 0.05, "dropout": 0.4, "normalization": "after_dropout", "scaling": "standardize"},
        "optimizer": {"learning_rate": 1e-2},
        "augmentation": {"backend": "keras", "views": 2},
    },
    "momentum, schedule": {
        "head": {"units": (8, 4), "pool": "flatten+max"},
        "optimizer": {"name": "sgd", "momentum": 0.9, "learning_rate": 0.1, "schedule": "cosine", "decay_epochs": 5},
    },
}


def recipe(tables: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({"name": "test", "training": {"epochs": EPOCHS, "batch_size": 16}} | tables)


def dealt(n: int, *, n_folds: int) -> list[Fold]:
    """Every n_folds-th photo validates; with 50 photos the folds are of unequal size."""
    fold_of = np.arange(n) % n_folds
    return [Fold(np.flatnonzero(fold_of != k), np.flatnonzero(fold_of == k)) for k in range(n_folds)]


def cross_validated(tables: dict[str, Any], photos: Labelled, folds: list[Fold], **hooks: Any) -> FittedHead:
    return fit_head(recipe(tables), SplitFeatures(photos, photos, 2, folds), seed=3, hooks=Hooks(**hooks))


def last_arrays(result: FittedHead, taken: list[Checkpoint], *, n_heads: int) -> list[list[np.ndarray]]:
    """Of each head all its variables after the last epoch."""
    variables = taken[-1].variables
    n = len(variables) // n_heads
    return [variables[k * n : (k + 1) * n] for k in range(n_heads)]


@pytest.mark.parametrize("kind", STATEFUL)
def test_each_head_is_the_one_that_its_fold_alone_gives(kind: str, train_set: Labelled) -> None:
    """Weights, moving statistics, dropout's seeds and the optimizer's state equal, to the bit, those of a training on
    that fold's photos with that head's seed; so do its validation probabilities at each epoch."""
    folds, taken = dealt(len(train_set.labels), n_folds=3), []
    together = cross_validated(STATEFUL[kind], train_set, folds, keep=lambda take: taken.append(take()))
    ours = last_arrays(together, taken, n_heads=3)
    for k, fold in enumerate(folds):
        own: list[Checkpoint] = []
        alone = fit_head(
            recipe(STATEFUL[kind]),
            SplitFeatures(train_set.some(fold.train), train_set.some(fold.val), 2),
            seed=fit._head_seed(3, k),
            hooks=Hooks(keep=lambda take, into=own: into.append(take())),
        )
        theirs = own[-1].variables
        assert [array.tobytes() for array in ours[k]] == [array.tobytes() for array in theirs]
        pooled = together.history.val_probabilities[:, fold.val]
        assert pooled.tobytes() == alone.history.val_probabilities.tobytes()


def test_heads_differ_by_their_seeds_too(train_set: Labelled) -> None:
    """On the very same photos two heads begin apart, and the first begins as a single head does."""
    everything = Fold(np.arange(50), np.arange(50))
    tables = {"head": {"units": (8,)}, "optimizer": {"learning_rate": 1e-7}}
    one, two = cross_validated(tables, train_set, [everything, everything]).heads
    assert np.abs(one["hidden_1/kernel"] - two["hidden_1/kernel"]).max() > 0.1
    (single,) = cross_validated(tables, train_set, [everything]).heads
    assert one["hidden_1/kernel"].tobytes() == single["hidden_1/kernel"].tobytes()


def test_a_photos_scores_come_from_the_right_heads(train_set: Labelled) -> None:
    """Its kept validation probabilities are those of the head that was not trained on it, its train figure the
    geometric mean over the others; all at the one epoch whose pooled validation loss is the lowest."""
    tables = STATEFUL["dropout, moving statistics, scaling, Adam"]
    folds = dealt(len(train_set.labels), n_folds=3)
    result = cross_validated(tables, train_set, folds)
    history, labels = result.history, train_set.labels
    plan = plan_head(recipe(tables).head, n_classes=2)
    answers = [probabilities(train_set.all(0), plan=plan, weights=head) for head in result.heads]
    best = int(np.argmin([cross_entropies(p, labels).mean() for p in history.val_probabilities]))
    assert history.best.epoch == best + 1
    own = history.train_true_class
    assert own is not None
    for k, fold in enumerate(folds):
        np.testing.assert_allclose(history.val_probabilities[best][fold.val], answers[k][fold.val], atol=1e-6)
        logs = [np.log(p[fold.val, labels[fold.val]]) for other, p in enumerate(answers) if other != k]
        np.testing.assert_allclose(own[best][fold.val], np.exp(np.mean(logs, axis=0)), atol=1e-6)


def test_an_epochs_figures_are_over_all_photos_and_heads(train_set: Labelled) -> None:
    """val_loss is the mean over all photos; train_loss weighs each photo of each head alike; parameters are counted."""
    tables = {"head": {"units": (8,)}}
    folds = [Fold(np.arange(10, 50), np.arange(10)), Fold(np.arange(10), np.arange(10, 50))]  # 40 photos, and 10
    result = cross_validated(tables, train_set, folds)
    plan = plan_head(recipe(tables).head, n_classes=2)
    row, labels = result.history.best, train_set.labels
    assert row.val_loss == pytest.approx(
        cross_entropies(result.history.val_probabilities[row.epoch - 1], labels).mean(), abs=1e-9
    )
    losses = np.concatenate(
        [
            cross_entropies(probabilities(train_set.all(0), plan=plan, weights=head), labels)[fold.train]
            for head, fold in zip(result.heads, folds, strict=True)
        ]
    )
    assert row.train_loss == pytest.approx(losses.mean(), abs=1e-6)
    assert result.n_parameters == 2 * (24 * 8 + 8 + 8 * 2 + 2)


@pytest.mark.parametrize("kind", STATEFUL)
def test_heads_that_go_on_come_out_the_same(kind: str, train_set: Labelled, tmp_path: Path) -> None:
    """From a checkpoint's file after the second of three epochs: heads, probabilities and figures, to the bit."""
    folds = dealt(len(train_set.labels), n_folds=3)

    def keep(take: Callable[[], Checkpoint]) -> None:
        one = take()
        write_checkpoint(tmp_path / str(len(one.history.epochs)), one)

    whole = cross_validated(STATEFUL[kind], train_set, folds, keep=keep)
    resume_from = read_checkpoint(tmp_path / "2")
    assert resume_from is not None
    again = cross_validated(STATEFUL[kind], train_set, folds, resume_from=resume_from)
    for one, other in zip(whole.heads, again.heads, strict=True):
        assert {name: a.tobytes() for name, a in one.items()} == {name: a.tobytes() for name, a in other.items()}
    assert whole.history.val_probabilities.tobytes() == again.history.val_probabilities.tobytes()
    assert [replace(row, seconds=0) for row in whole.history.epochs] == [
        replace(row, seconds=0) for row in again.history.epochs
    ]


def test_with_the_mirror_image_scores_are_the_mean_of_both(train_set: Labelled, val_set: Labelled) -> None:
    """Validation and train scores average views 0 and -1; no gradient step ever sees the mirror image."""
    tables = {"head": {"units": (8,)}, "prediction": {"mirror": True}}

    def turned(photos: Labelled) -> Labelled:
        def features(view: int, rows: np.ndarray) -> np.ndarray:
            clean = photos.features(0, rows)
            return clean[:, :, ::-1] if view == -1 else clean

        return Labelled(features, photos.labels)

    data = SplitFeatures(turned(train_set), turned(val_set), 2)
    result = fit_head(recipe(tables), data, seed=3)
    plain = fit_head(recipe({"head": {"units": (8,)}}), data, seed=3)
    plan = plan_head(recipe(tables).head, n_classes=2)
    (head,), best = result.heads, result.history.best.epoch - 1
    views = [probabilities(turned(val_set).all(view), plan=plan, weights=head) for view in (0, -1)]
    assert np.abs(views[0] - views[1]).max() > 1e-3
    np.testing.assert_allclose(result.history.val_probabilities[best], np.mean(views, axis=0), atol=1e-6)
    own = [probabilities(turned(train_set).all(view), plan=plan, weights=head) for view in (0, -1)]
    assert result.history.epochs[best].train_loss == pytest.approx(
        cross_entropies(np.mean(own, axis=0), train_set.labels).mean(), abs=1e-6
    )
    assert [row.objective for row in result.history.epochs] == [row.objective for row in plain.history.epochs]


def test_joined_heads_come_apart_as_they_were() -> None:
    """Ten heads and more: head_1's arrays are not taken for head_10's."""
    heads = [{"classes/bias": np.full(2, k, np.float32)} for k in range(12)]
    again = separated(joined(heads), n_heads=12)
    assert [float(head["classes/bias"][0]) for head in again] == list(range(12))
    assert all(head.keys() == {"classes/bias"} for head in again)
