"""silencing.py: units set to zero at test time, as Keras would compute it, averaged over draws."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.config import Head
from imgreg.heads.build import build_head, weights_by_name
from imgreg.heads.forward import probabilities, score
from imgreg.heads.plan import plan_head
from imgreg.heads.silencing import FRACTIONS, N_DRAWS, silenced_scores
from imgreg.heads.views import Labelled

HEAD = Head(units=(10, 20), activation="tanh", normalization="after_activation")
PLAN = plan_head(HEAD, n_classes=2)


def arrays(seed: int) -> dict[str, np.ndarray]:
    return weights_by_name(build_head(HEAD, feature_shape=(2, 2, 6), n_classes=2, seed=seed))


def test_none_silent_is_the_head_itself(val_set: Labelled) -> None:
    """Over folds and views: the scores of the heads' own answers, each on its own photos."""
    rows = [np.arange(0, 12), np.arange(12, 30)]
    heads = [arrays(0), arrays(1)]
    found = silenced_scores(val_set, rows=rows, plan=PLAN, heads=heads, views=(0, 1))
    answers = [
        np.mean([probabilities(val_set.features(view, of), plan=PLAN, weights=head) for view in (0, 1)], axis=0)
        for of, head in zip(rows, heads, strict=True)
    ]
    loss, accuracy = score(np.concatenate(answers), val_set.labels)
    assert (found[0].losses[0], found[0].accuracies[0]) == (pytest.approx(loss, abs=1e-6), accuracy)
    assert [one.fraction for one in found] == list(FRACTIONS)
    assert {len(one.losses) for one in found[1:]} == {N_DRAWS}


def test_silent_units_do_not_reach_the_output(val_set: Labelled) -> None:
    """Where one unit carries everything, the score is the head's or its bias's, as often as the unit is silent."""
    head = Head(units=(10,), activation="linear")
    weights = {
        "hidden_1/kernel": np.zeros((24, 10), np.float32),
        "hidden_1/bias": np.eye(10, dtype=np.float32)[3],
        "classes/kernel": np.full((10, 2), 2.0, np.float32) * [1, 0],
        "classes/bias": np.zeros(2, np.float32),
    }
    everyone = [np.arange(30)]
    found = silenced_scores(
        val_set, rows=everyone, plan=plan_head(head, n_classes=2), heads=[weights], views=(0,), seed=1
    )
    whole, silent = found[0].losses[0], np.log(2)
    assert whole != pytest.approx(silent, abs=0.1)
    for one in found[1:]:
        assert all(min(abs(loss - whole), abs(loss - silent)) < 1e-5 for loss in one.losses)
    shares = [np.mean([abs(loss - silent) < 1e-5 for loss in one.losses]) for one in found]
    assert shares[0] == 0
    assert np.mean(np.abs(np.array(shares) - FRACTIONS)) < 0.15


def test_a_head_without_hidden_layers_has_none_to_silence(val_set: Labelled) -> None:
    """Nothing is computed."""
    plan = plan_head(Head(units=()), n_classes=2)
    assert silenced_scores(val_set, rows=[np.arange(30)], plan=plan, heads=[{}], views=(0,)) == ()
