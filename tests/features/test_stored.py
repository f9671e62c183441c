"""stored.py: what is kept of a feature map is enough."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.config import Recipe
from imgreg.errors import FeatureError
from imgreg.features.stored import Stored, stored_shape, to_stored
from imgreg.heads.fit import fit_head
from imgreg.heads.training_curves import SplitFeatures
from imgreg.heads.views import Labelled

MAP = np.random.default_rng(0).gamma(0.3, 20, (4, 4, 512)).astype(np.float32)


def test_float16_is_enough_for_a_head() -> None:
    """Heads trained and scored on float32 features and on the same rounded to float16 end at the same losses.

    The features are drawn like VGG16's last map: most near zero, some in the hundreds, the classes overlapping.
    """
    draw = np.random.default_rng(1)
    labels = np.arange(160) % 2
    exact = draw.gamma(0.3, 20, (160, 2, 2, 128)) * (1 + 0.15 * labels[:, None, None, None] * draw.random(128))
    exact = exact.astype(np.float32)
    assert exact.max() > 100

    def losses(features: np.ndarray) -> tuple[float, float]:
        train = Labelled(lambda view, rows: features[:120][rows], labels[:120])
        val = Labelled(lambda view, rows: features[120:][rows], labels[120:])
        recipe = Recipe.model_validate(
            {
                "name": "r",
                "head": {"units": (32,), "l2": 0.001, "dropout": 0.3, "normalization": "after_dropout"},
                "optimizer": {"learning_rate": 1e-4},
                "training": {"epochs": 20},
            }
        )
        last = fit_head(recipe, SplitFeatures(train, val, 2), seed=0).history.last
        return last.train_loss, last.val_loss

    assert losses(exact.astype(np.float16)) == pytest.approx(losses(exact), abs=2e-3)


@pytest.mark.parametrize("stored", ["map", "avg", "max"])
def test_pooling_before_and_in_the_head_agree(stored: Stored) -> None:
    """Pooled storage is the map's own average or maximum, but for one rounding."""
    kept = to_stored(MAP, stored)
    assert (kept.shape, kept.dtype) == (stored_shape(128, stored), np.float16)
    pooled = {"map": MAP, "avg": MAP.mean((0, 1), keepdims=True), "max": MAP.max((0, 1), keepdims=True)}[stored]
    np.testing.assert_allclose(kept.astype(np.float32), pooled, rtol=2**-11, atol=1e-7)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e5])
def test_a_feature_that_cannot_be_kept_is_an_error(value: float) -> None:
    """Not a number, infinite or beyond float16: refused, not rounded to infinity."""
    broken = MAP.copy()
    broken[1, 2, 3] = value
    with pytest.raises(FeatureError, match="not finite"):
        to_stored(broken, "map")
