"""A range test of a recipe's learning rate: some heads trained while the rate grows, and their mean curve.

In: a recipe with its features in the cache. Out: a curve. Must not know: what asked for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imgreg.analysis.lr_find import LearningRateCurve, learning_rate_curve
from imgreg.config import SWEEPS
from imgreg.data.index import Photo
from imgreg.heads.lr_find import sweep_learning_rates
from imgreg.progress import Watcher
from imgreg.training.prepare import Prepared

LOWEST, HIGHEST = 1e-7, 1.0
N_STEPS = 140  # 20 a decade


def sweep_rates(
    prepared: Prepared, photos: Sequence[Photo], *, sweeps: int = SWEEPS, watcher: Watcher
) -> LearningRateCurve:
    """Train new heads for some steps each while the learning rate grows.

    Parameters
    ----------
    photos : sequence of Photo
        The train photos.
    sweeps : int
        Number of heads, each with its own initial weights and order of photos.
    """
    rates = np.geomspace(LOWEST, HIGHEST, N_STEPS)
    train, losses = prepared.labelled(photos, augmented=True), []
    for number in range(sweeps):
        watcher.step("raising the learning rate", number, sweeps, "")
        seed = prepared.settings.seed + number
        losses.append(
            sweep_learning_rates(
                prepared.settings.recipe, train=train, n_classes=len(prepared.classes), rates=rates, seed=seed
            )
        )
    watcher.step("raising the learning rate", sweeps, sweeps, "")
    return learning_rate_curve(rates, losses)
