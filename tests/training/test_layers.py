"""What metrics.json says of layers: zeros counted in the kept heads, intervals over draws."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.heads.silencing import Silenced
from imgreg.training.layers import layer_summaries, silenced_units


def test_zeros_and_small_weights_are_counted() -> None:
    """In each head's kernels, averaged; biases and normalizations are not weights that could be pruned."""
    first = np.full((2, 5), 1.0, np.float32)
    first[0] = [0, 0, 0, 0.009, -0.009]
    heads = [
        {"hidden_1/kernel": first, "hidden_1/bias": np.zeros(5, np.float32), "normalization_1/gamma": np.zeros(5)},
        {"hidden_1/kernel": np.ones((2, 5), np.float32), "hidden_1/bias": np.zeros(5, np.float32)},
    ]
    (found,) = layer_summaries(heads, recorded=())
    assert (found.layer, found.n_units, found.n_weights, found.gradient_norm_last) == ("hidden_1", 5, 10, None)
    assert (found.zero_weights, found.small_weights) == (pytest.approx(0.15), pytest.approx(0.25))


def test_the_interval_holds_95_percent_of_the_draws() -> None:
    """Percentiles 2.5 and 97.5, and the mean."""
    (found,) = silenced_units([Silenced(0.5, tuple(np.linspace(0, 1, 201)), (0.5,) * 201)])
    assert (found.loss_low, found.loss, found.loss_high) == pytest.approx((0.025, 0.5, 0.975))
    assert (found.n_draws, found.accuracy_low, found.accuracy_high) == (201, 0.5, 0.5)
