"""checkpoint.py and fit.py: a training that was cut off goes on and comes out as it would have."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgreg.config import Recipe
from imgreg.heads import checkpoint as checkpoints
from imgreg.heads import fit
from imgreg.heads.checkpoint import Checkpoint, checkpointer, forget_checkpoint, read_checkpoint, write_checkpoint
from imgreg.heads.epochs import Hooks
from imgreg.heads.fit import fit_head
from imgreg.heads.training_curves import FittedHead, SplitFeatures
from imgreg.heads.views import Labelled
from imgreg.runs.history import Epoch

EPOCHS = 6
EVERYTHING = {  # that has a state of its own: dropout's seeds, moving statistics, momenta, schedules, views
    "adam": {
        "head": {"units": (8,), "l2": 0.05, "dropout": 0.4, "normalization": "after_dropout", "scaling": "standardize"},
        "optimizer": {"learning_rate": 1e-2, "schedule": "reduce_on_plateau", "decay_epochs": 1, "decay_rate": 0.5},
        "augmentation": {"backend": "keras", "views": 3},
    },
    "adamw": {
        "head": {"units": (8, 4), "max_norm": 2.0, "dropout": 0.2},
        "optimizer": {"name": "adamw", "weight_decay": 0.01, "schedule": "cosine", "decay_epochs": 5},
    },
    "sgd": {
        "optimizer": {"name": "sgd", "momentum": 0.9, "learning_rate": 0.1},
        "training": {"epochs": EPOCHS, "batch_size": 16, "patience_epochs": 1},
    },
}


def recipe(tables: dict[str, Any]) -> Recipe:
    return Recipe.model_validate({"name": "test", "training": {"epochs": EPOCHS, "batch_size": 16}} | tables)


def told(head: FittedHead) -> tuple[object, ...]:
    """All of a head that must be the same to the bit; only the seconds may differ."""
    own = head.history.train_true_class
    assert own is not None
    return (
        [{name: array.tobytes() for name, array in one.items()} for one in head.heads],
        head.history.val_probabilities.tobytes(),
        own.tobytes(),
        [replace(row, seconds=0) for row in head.history.epochs],
    )


def fitted(name: str, train: Labelled, val: Labelled, **hooks: Any) -> FittedHead:
    return fit_head(recipe(EVERYTHING[name]), SplitFeatures(train, val, 2), seed=3, hooks=Hooks(**hooks))


@pytest.mark.parametrize(("name", "cuts"), [("adam", (4,)), ("adamw", (3,)), ("sgd", (1,))])
def test_a_training_that_goes_on_comes_out_the_same(
    name: str, cuts: tuple[int, ...], train_set: Labelled, val_set: Labelled, tmp_path: Path
) -> None:
    """From the checkpoint of any epoch on: weights, probabilities and history as in one go, to the bit."""

    def keep(take: Callable[[], Checkpoint]) -> None:
        one = take()
        write_checkpoint(tmp_path / str(len(one.history.epochs)), one)

    whole = fitted(name, train_set, val_set, keep=keep)
    assert len(whole.history.epochs) > max(cuts)
    for cut in cuts:
        shown: list[Epoch] = []
        resume_from = read_checkpoint(tmp_path / str(cut))
        assert told(fitted(name, train_set, val_set, resume_from=resume_from, on_epoch=shown.append)) == told(whole)
        assert [row.epoch for row in shown] == [row.epoch for row in whole.history.epochs]

    def never() -> None:
        raise AssertionError("a step was taken")

    if name == "adamw":
        return
    done = read_checkpoint(tmp_path / str(len(whole.history.epochs)))  # patience ended sgd's
    assert told(fitted(name, train_set, val_set, resume_from=done, on_step=never)) == told(whole)


def test_steps_are_bounded_between_two_looks_at_signals(
    train_set: Labelled, val_set: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """on_step comes before every so many steps; a training in smaller calls gives the same head."""
    calls: list[int] = []
    whole = fitted("sgd", train_set, val_set, on_step=lambda: calls.append(1))
    assert len(calls) == (n_epochs := len(whole.history.epochs))
    monkeypatch.setattr(fit, "STEPS_A_CALL", 1)
    calls.clear()
    again = fitted("sgd", train_set, val_set, on_step=lambda: calls.append(1))
    assert len(calls) == n_epochs * -(-len(train_set.labels) // 16)
    assert told(again)[0] == told(whole)[0]


@pytest.fixture(scope="module")
def checkpoint(train_set: Labelled, val_set: Labelled) -> Checkpoint:
    """As a training gives it after its last epoch."""
    taken: list[Checkpoint] = []
    fitted("adam", train_set, val_set, keep=lambda take: taken.append(take()))
    return taken[-1]


@pytest.fixture
def kept(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A checkpoint's file."""
    write_checkpoint(tmp_path / "kept", checkpoint)
    return tmp_path / "kept"


def test_a_file_that_is_not_whole_counts_as_none(kept: Path) -> None:
    """Cut anywhere, or with one bit turned, it is not taken; nor is one that is not there."""
    content = kept.read_bytes()
    assert read_checkpoint(kept) is not None
    for n_bytes in (0, 1, 31, 32, 40, len(content) // 2, len(content) - 1):
        kept.write_bytes(content[:n_bytes])
        assert read_checkpoint(kept) is None
    for place in (0, 33, len(content) // 2, len(content) - 1):
        kept.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert read_checkpoint(kept) is None
    kept.unlink()
    assert read_checkpoint(kept) is None


def test_writing_takes_no_more_than_its_share(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a write that took long, nine times as long passes until the next; the first second has none."""
    now, written = [0.0], []
    monkeypatch.setattr(checkpoints.time, "perf_counter", lambda: now[0])

    def slow(_path: Path, _checkpoint: Checkpoint) -> None:
        written.append(now[0])
        now[0] += 2.0

    monkeypatch.setattr(checkpoints, "write_checkpoint", slow)
    keep = checkpointer(tmp_path / "next", say=lambda _: None)
    for _ in range(60):
        now[0] += 0.5
        keep(lambda: checkpoint)
    assert written == [1.0, 21.0]


def test_a_full_disk_is_told_once_and_costs_no_training(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no checkpoint can be written the training goes on; one line says what that means."""
    monkeypatch.setattr(checkpoints, "FIRST_SECONDS", 0)
    monkeypatch.setattr(checkpoints, "WRITING_SHARE", 1)
    (tmp_path / "file").write_text("in the way")
    lines: list[str] = []
    keep = checkpointer(tmp_path / "file" / "next", say=lines.append)
    for _ in range(3):
        keep(lambda: checkpoint)
    assert len(lines) == 1
    assert "it will start over" in lines[0]


def test_arrays_come_back_as_they_were(checkpoint: Checkpoint, kept: Path) -> None:
    """Shapes, kinds of numbers and single values survive the file."""
    one = read_checkpoint(kept)
    assert one is not None
    assert [a.tobytes() for a in one.variables] == [a.tobytes() for a in checkpoint.variables]
    kinds = {(str(array.dtype), array.shape) for array in one.variables}
    assert {("float32", (8,)), ("int64", (2,)), ("int64", ())} <= kinds  # biases, dropout's seeds, the count of steps
    assert one.history.epochs[0].epoch == 1
    assert one.history.val_probabilities.dtype == np.float32


def test_what_killed_writers_left_goes_with_the_checkpoint(kept: Path) -> None:
    """A half-written file of a process that is gone is removed; one that is being written now is not."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    left, busy = (kept.with_name(f".{kept.name}.{pid}-1.partial") for pid in (gone.pid, os.getpid()))
    for path in (left, busy):
        path.write_bytes(b"half")
    forget_checkpoint(kept)
    assert [path.name for path in kept.parent.iterdir()] == [busy.name]
