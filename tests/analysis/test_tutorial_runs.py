"""The verdict on the published runs of TensorFlow's tutorial "Overfit and underfit", in the tutorial's words.

tutorial_runs.csv holds the figures that the tutorial's notebook logs every 100 epochs:
https://www.tensorflow.org/tutorials/keras/overfit_and_underfit (Apache License 2.0). It publishes means, not single
answers; 1,000 validation rows are made to fit them. Between the logged epochs every tenth is interpolated.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.special import log_expit

from imgreg.analysis.verdict import judge
from imgreg.analysis.verdict_rules import FITTING_WELL, OVERFITTING
from imgreg.runs.summary import Verdict

N_VAL = 1000
STEP = 10  # epochs
CLOSE = "close to overfitting"


def published(model: str) -> list[dict[str, float]]:
    with (Path(__file__).parent / "tutorial_runs.csv").open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row["model"] == model]
    return [{name: float(value) for name, value in row.items() if name != "model"} for row in rows]


def row_losses(loss: float, accuracy: float, *, margins: np.ndarray, overconfident: bool) -> np.ndarray:
    """(N_VAL,) cross-entropies with this mean and, as far as it can be, this accuracy; rows keep their order."""
    centred = margins - np.quantile(margins, 1 - accuracy)

    def mean_loss(scale: float) -> float:
        return float(-log_expit(scale * centred).mean())

    lowest = minimize_scalar(mean_loss, bounds=(1e-3, 100), method="bounded").x
    if mean_loss(lowest) >= loss:  # no scale gives so low a loss at this accuracy: move all rows
        losses = -log_expit(lowest * centred)
        return losses * loss / losses.mean()
    bounds = (lowest, 1e4) if overconfident or loss >= np.log(2) else (1e-9, lowest)
    return -log_expit(brentq(lambda scale: mean_loss(scale) - loss, *bounds) * centred)


def verdict_on(model: str, plant) -> Verdict:
    logged = published(model)
    at = np.arange(0, logged[-1]["epoch"] + 1, STEP)
    known = [row["epoch"] for row in logged]
    columns = {name: np.interp(at, known, [row[name] for row in logged]) for name in logged[0]}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    margins = np.random.default_rng(0).normal(size=N_VAL)
    val = [row["val_cross_entropy"] for row in rows]
    lowest = int(np.argmin(val))
    losses = np.stack(
        [
            row_losses(row["val_cross_entropy"], row["val_accuracy"], margins=margins, overconfident=k > lowest)
            for k, row in enumerate(rows)
        ]
    )
    assert losses.mean(axis=1) == pytest.approx(val, abs=1e-6)
    history = plant(np.array([row["train_cross_entropy"] for row in rows]), losses)
    return judge(history, val_labels=np.arange(N_VAL) % 2)


@pytest.mark.parametrize(
    ("model", "label", "close"),
    [
        ("tiny", FITTING_WELL, False),  # "the only one that manages to avoid overfitting altogether"
        ("small", FITTING_WELL, True),  # "each of the larger models overfit the data more quickly"
        ("medium", OVERFITTING, False),
        ("large", OVERFITTING, False),
        ("l2", FITTING_WELL, False),  # "much more resistant to overfitting"
        ("dropout", FITTING_WELL, True),  # better than the baseline, and its validation loss rises
        ("combined", FITTING_WELL, False),  # "obviously the best one so far"
    ],
)
def test_the_verdict_agrees_with_the_tutorial(plant, model: str, label: str, close: bool) -> None:
    """Each of the seven models is called what the tutorial calls it, and no advice contradicts it."""
    found = verdict_on(model, plant)
    assert (found.label, CLOSE in found.sentence) == (label, close), found.sentence
    assert "larger head." not in found.next_step
