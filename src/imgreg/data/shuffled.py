"""Train photos with shuffled labels: what a head learns then, it can only have memorized."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from imgreg.data.split import Split


def with_shuffled_labels(split: Split, *, seed: int) -> Split:
    """The train photos' labels in another order, as many of each class as before; other photos keep theirs.

    References
    ----------
    Zhang et al. 2017, arXiv:1611.03530 (the randomization test).
    """
    draw = np.random.default_rng([seed, 1611])
    labels = [split.train[i].label for i in draw.permutation(len(split.train))]
    return replace(
        split, train=tuple(replace(photo, label=label) for photo, label in zip(split.train, labels, strict=True))
    )
