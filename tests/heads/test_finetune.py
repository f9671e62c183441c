"""finetune.py: a block is trained on from where the head is, and what does not help is not kept."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgreg.config import Finetune, Head, Optimizer, Recipe, Training
from imgreg.features.blocks import count_tuned, tuned_shapes
from imgreg.heads.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from imgreg.heads.epochs import Hooks
from imgreg.heads.finetune import Unfrozen, finetune, tuned_answers
from imgreg.heads.fit import fit_head
from imgreg.heads.forward import score
from imgreg.heads.training_curves import FittedHead, Fold, SplitFeatures
from imgreg.heads.views import Labelled

BLOCK = {
    name: np.random.default_rng(len(name)).normal(0, 0.02, shape).astype(np.float32)
    for name, shape in tuned_shapes("block5").items()
}
RECIPE = Recipe(
    name="small",
    head=Head(units=(4,), dropout=0.3, normalization="before_activation"),
    optimizer=Optimizer(learning_rate=0.01),
    training=Training(epochs=2, batch_size=8),
    finetune=Finetune(block="block5", learning_rate=1e-3, head_learning_rate=1e-2, epochs=2),
)


def photos(n: int, *, seed: int) -> Labelled:
    """Features of 32 px photos at block4_pool, (n, 2, 2, 512); the classes differ in the first channels."""
    draw, labels = np.random.default_rng(seed), np.arange(n) % 2
    maps = np.abs(draw.normal(0, 1, (n, 2, 2, 512))).astype(np.float16)
    maps[labels == 1, :, :, :64] += 1
    return Labelled(lambda _, rows: maps[rows], labels)


def through_block(deep: Labelled, recipe: Recipe = RECIPE) -> Labelled:
    """The same photos by the untouched block: what the frozen base gives."""
    import keras

    from imgreg.features.backbone import tail

    start = keras.Input((2, 2, 512))
    maps = keras.Model(start, tail(start, BLOCK)).predict(deep.all(0).astype(np.float32), verbose=0)
    return Labelled(lambda _, rows: maps[rows].astype(np.float16), deep.labels)


@pytest.fixture(scope="module")
def fitted() -> FittedHead:
    train, val = photos(16, seed=1), photos(8, seed=2)
    return fit_head(RECIPE, SplitFeatures(through_block(train), through_block(val), 2), seed=0)


def tuned(fitted: FittedHead, recipe: Recipe = RECIPE, **changed: float) -> FittedHead:
    recipe = recipe.model_copy(update={"finetune": recipe.finetune.model_copy(update=changed)})
    train, val = photos(16, seed=1), photos(8, seed=2)
    return finetune(recipe, fitted, SplitFeatures(train, val, 2), unfrozen=Unfrozen(BLOCK), seed=0)


def test_a_rate_of_zero_gives_the_frozen_figures(fitted: FittedHead) -> None:
    """Dropout, BatchNormalization and the penalty change nothing by themselves; only float16's rounding differs."""
    still = tuned(fitted, learning_rate=0.0, head_learning_rate=0.0, epochs=5, patience_epochs=1)
    assert (still.finetuned_from, len(still.history.epochs)) == (3, 4)  # the second is not better than the first
    for row in still.history.epochs[2:]:
        assert row.val_loss == pytest.approx(fitted.history.best.val_loss, abs=2e-3)
        assert row.val_accuracy == fitted.history.best.val_accuracy
    for name, array in still.heads[0].items():
        np.testing.assert_array_equal(array, fitted.heads[0][name])


def test_fine_tuning_lowers_the_train_loss_and_moves_the_block(fitted: FittedHead) -> None:
    """And the kept arrays, put together again, give the best epoch's validation loss."""
    done = tuned(fitted)
    assert [row.epoch for row in done.history.epochs] == [1, 2, 3, 4]
    assert done.history.epochs[-1].train_loss < fitted.history.best.train_loss
    assert done.history.best.epoch >= 3
    (block,) = done.blocks
    assert all(np.abs(block[name] - BLOCK[name]).max() > 0 for name in BLOCK)
    val = photos(8, seed=2)
    answers = tuned_answers(val, recipe=RECIPE, fitted=done, precision="float32", n_classes=2)
    assert score(answers, val.labels)[0] == pytest.approx(done.history.best.val_loss, abs=1e-6)


def test_a_recipe_that_keeps_the_last_epoch_keeps_fine_tunings_last(fitted: FittedHead) -> None:
    """Though its validation loss is not the lowest: a head that is already perfect gives way. Both rates fall by a
    cosine; with early stopping the best epoch is kept."""
    rows = tuple(replace(row, val_loss=0.0) for row in fitted.history.epochs)
    perfect = replace(fitted, history=replace(fitted.history, epochs=rows))
    recipe = RECIPE.model_copy(update={"training": RECIPE.training.model_copy(update={"keep": "last"})})
    done = tuned(perfect, recipe, epochs=4)
    assert (len(done.blocks), done.history.kept_epoch) == (1, 6)
    rates = [row.learning_rate for row in done.history.epochs[2:]]
    np.testing.assert_allclose(rates, [0.01 * (1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)], rtol=1e-6)
    assert tuned(perfect, recipe, patience_epochs=5).blocks == ()


def test_fine_tunings_epochs_are_reported_apart(fitted: FittedHead) -> None:
    """They take many times as long as the head's, so that one estimate of the time left cannot hold for both."""
    of_head, of_block = [], []
    hooks = Hooks(on_epoch=of_head.append, on_finetune_epoch=of_block.append)
    data = SplitFeatures(photos(16, seed=1), photos(8, seed=2), 2)
    done = finetune(RECIPE, fitted, data, unfrozen=Unfrozen(BLOCK), seed=0, hooks=hooks)
    assert (of_head, of_block) == ([], list(done.history.epochs[2:]))


def test_the_blocks_parameters_are_counted(fitted: FittedHead) -> None:
    """A study counts them without Keras."""
    assert tuned(fitted, epochs=1).n_parameters == fitted.n_parameters + count_tuned("block5")


def test_the_frozen_weights_are_kept_where_no_epoch_beats_them(fitted: FittedHead) -> None:
    """A head that is already perfect on validation photos comes back as it was."""
    rows = tuple(replace(row, val_loss=0.0) for row in fitted.history.epochs)
    perfect = replace(fitted, history=replace(fitted.history, epochs=rows))
    done = tuned(perfect)
    assert (done.blocks, done.history.best.epoch, len(done.history.epochs)) == ((), 1, 4)
    assert done.heads is perfect.heads


def test_the_same_seed_gives_the_same_bits(fitted: FittedHead) -> None:
    """Dropout, the order and Adam repeat."""
    one, two = tuned(fitted), tuned(fitted)
    assert [replace(row, seconds=0) for row in one.history.epochs] == [
        replace(row, seconds=0) for row in two.history.epochs
    ]
    for name, array in one.blocks[0].items():
        np.testing.assert_array_equal(array, two.blocks[0][name])


def test_an_interrupted_fine_tuning_comes_out_the_same(tmp_path: Path) -> None:
    """From the file of its first epoch's checkpoint, in a cross-validation: heads, blocks and history to the bit. The
    epochs before are reported again, and no step of the head's is taken."""
    both, kept, pairs = photos(24, seed=1), [], np.arange(24) // 2 % 2
    folds = [Fold(np.flatnonzero(pairs == k), np.flatnonzero(pairs != k)) for k in range(2)]
    pooled = through_block(both)
    deep, shallow = SplitFeatures(both, both, 2, folds), SplitFeatures(pooled, pooled, 2, folds)
    slower = RECIPE.finetune.model_copy(update={"learning_rate": 1e-4, "head_learning_rate": 1e-3})
    recipe = RECIPE.model_copy(update={"optimizer": Optimizer(learning_rate=1e-6), "finetune": slower})

    def keep(take: Callable[[], Checkpoint]) -> None:
        kept.append(take())

    def train(hooks: Hooks) -> FittedHead:
        head = fit_head(recipe, shallow, seed=0, hooks=hooks)
        return finetune(recipe, head, deep, unfrozen=Unfrozen(BLOCK), seed=0, hooks=hooks)

    whole = train(Hooks(keep=keep))
    assert [one.finetuned_from for one in kept] == [None, None, 3, 3]
    write_checkpoint(tmp_path / "third", kept[2])
    told: list[int] = []
    steps: list[None] = []
    resumed = train(
        Hooks(
            resume_from=read_checkpoint(tmp_path / "third"),
            on_epoch=lambda row: told.append(row.epoch),
            on_step=lambda: steps.append(None),
        )
    )
    assert told == [1, 2, 3, 4]
    assert len(steps) == 2 * -(-12 // recipe.training.batch_size)  # both folds' last epoch
    assert (resumed.n_parameters, resumed.finetuned_from) == (whole.n_parameters, whole.finetuned_from)
    assert [replace(row, seconds=0) for row in resumed.history.epochs] == [
        replace(row, seconds=0) for row in whole.history.epochs
    ]
    assert len(whole.blocks) == 2
    for one, other in zip((*resumed.heads, *resumed.blocks), (*whole.heads, *whole.blocks), strict=True):
        assert {name: a.tobytes() for name, a in one.items()} == {name: a.tobytes() for name, a in other.items()}


def test_where_fine_tuning_diverges_the_frozen_head_is_the_result(fitted: FittedHead) -> None:
    """With a warning that names epoch and remedy; nothing is raised, in train and in a study alike."""
    wild = tuned(fitted, learning_rate=1e30)
    assert "fine-tuning diverged in epoch 3: " in wild.warning
    assert wild.warning.endswith("e.g. --set finetune.learning_rate=1e+29. The best epoch before that was kept.")
    assert (wild.blocks, wild.finetuned_from, len(wild.history.epochs)) == ((), None, 2)
    assert wild.heads is fitted.heads
    assert fitted.warning == ""
