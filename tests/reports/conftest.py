"""Runs written by hand: planted curves, and validation probabilities that give exactly those losses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imgreg.analysis.verdict import judge
from imgreg.runs.folder import Run, SkippedRow, SplitRow
from imgreg.runs.history import Epoch, History
from imgreg.runs.summary import FeatureCounts, RunSummary, Scores, Seconds

COMMAND = "imgreg train data/ --recipe plain --seed 0"


def plant_history(train: np.ndarray, val: np.ndarray, *, n_val: int = 80, spread: float = 0.0) -> History:
    """Two classes in turn; each photo's cross-entropy is the epoch's, give or take `spread` of it."""
    labels = np.arange(n_val) % 2
    share = 1 + spread * np.random.default_rng(0).standard_normal(n_val).clip(-2, 2)
    of_truth = np.exp(-np.outer(val, share * n_val / share.sum()))
    probabilities = np.empty((len(val), n_val, 2), np.float32)
    probabilities[:, np.arange(n_val), labels] = of_truth
    probabilities[:, np.arange(n_val), 1 - labels] = 1 - of_truth
    epochs = tuple(
        Epoch(
            epoch=i + 1,
            learning_rate=1e-3,
            objective=float(t) + 0.05,
            train_loss=float(t),
            train_accuracy=float(1 - 0.6 * t / (1 + t)),
            val_loss=float(v),
            val_accuracy=float(np.clip(0.97 - 0.35 * v / (1 + v) - 0.02 * np.sin(i), 0, 1)),
            weight_penalty=0.0,
            seconds=0.1,
        )
        for i, (t, v) in enumerate(zip(train, val, strict=True))
    )
    return History(epochs, probabilities)


def overfitting_history(n_epochs: int = 100) -> History:
    """Train loss to zero; validation loss down to 0.45 and up to 1.2, with some noise."""
    e = np.arange(n_epochs)
    noise = np.random.default_rng(1).normal(0, 0.015, n_epochs)
    val = 0.42 + 0.4 * np.exp(-e / 2) + 0.8 * (1 - np.exp(-e / 60)) + noise
    return plant_history(0.9 * np.exp(-e / 5) + 0.002, val, spread=0.4)


def healthy_history(n_epochs: int = 100) -> History:
    """Both losses fall and stay together."""
    e = np.arange(n_epochs)
    noise = np.random.default_rng(2).normal(0, 0.008, n_epochs)
    return plant_history(0.25 + 0.5 * np.exp(-e / 15), 0.37 + 0.45 * np.exp(-e / 13) + noise, spread=0.4)


def build_run(
    history: History,
    *,
    name: str = "plain",
    classes: tuple[str, ...] = ("ants", "bees"),
    skipped: tuple[SkippedRow, ...] = (),
    weights_note: str = "",
    warnings: tuple[str, ...] = (),
    folder: Path = Path("models/plain"),
    n_train: int = 318,
    command: str = COMMAND,
) -> Run:
    n_val = history.val_probabilities.shape[1]
    labels = np.arange(n_val) % 2
    split = tuple(
        SplitRow(f"{classes[i % len(classes)]}/{i:04}.jpg", classes[i % len(classes)], side, f"{side}{i:060x}")
        for side, n in (("train", n_train), ("val", n_val))
        for i in range(n)
    )
    summary = RunSummary(
        run=str(folder),
        name=name,
        recipe="plain",
        created="2026-01-05T09:30:00Z",
        command=command,
        seed=0,
        weights="starter",
        weights_sha256="ab" * 32,
        weights_note=weights_note,
        image_size=128,
        engine="openvino",
        precision="float32",
        augmentation="keras",
        n_views=8,
        classes=classes,
        n_train=n_train,
        n_val=n_val,
        n_test=0,
        n_skipped=len(skipped),
        n_parameters=2_097_922,
        epochs_run=len(history.epochs),
        best_epoch=history.best.epoch,
        kept_epoch=history.kept.epoch,
        best=Scores.of(history.best),
        kept=Scores.of(history.kept),
        last=Scores.of(history.last),
        test=None,
        verdict=judge(history, val_labels=labels),
        seconds=Seconds(photos=1.2, keras=3.1, features=28.4, head=40.1, total=70.3),
        features=FeatureCounts(n_computed=398, n_read=0),
        warnings=warnings,
    )
    config = 'seed = 0\n\n[recipe]\nname = "plain"\n\n[recipe.head]\nunits = [256]\n'
    environment = {"python": "3.11.7", "packages": {"keras": "3.15.1", "numpy": "2.4.0"}, "cpu_count": 2}
    return Run(folder, summary, history, split, skipped, config, environment)


@pytest.fixture(scope="session")
def overfitting() -> History:
    return overfitting_history()


@pytest.fixture(scope="session")
def healthy() -> History:
    return healthy_history()


@pytest.fixture(scope="session")
def plant() -> Callable[..., History]:
    return plant_history


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Run]:
    return build_run
