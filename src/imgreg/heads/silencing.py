"""How a trained head holds up when hidden units fall silent: random units set to zero at test time, many times over.

In: features, a plan and the heads' arrays. Out: loss and accuracy by fraction. No Keras.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imgreg.heads.ensemble import Arrays
from imgreg.heads.forward import probabilities, score
from imgreg.heads.plan import Layer
from imgreg.heads.views import IntArray, Labelled

FRACTIONS = tuple(tenths / 10 for tenths in range(10))
N_DRAWS = 20
MAX_PHOTOS = 1000  # of one head: their features are in memory

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class Silenced:
    """Scores with a fraction of each hidden layer's units set to zero.

    losses, accuracies   one a draw
    """

    fraction: float
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]


def silenced_scores(
    photos: Labelled,
    *,
    rows: Sequence[IntArray],
    plan: Sequence[Layer],
    heads: Sequence[Arrays],
    views: Sequence[int],
    seed: int = 0,
) -> tuple[Silenced, ...]:
    """Score heads with silent units.

    Parameters
    ----------
    photos : Labelled
        Photos that the heads were not trained on.
    rows : sequence of (n,) int
        For each head the photos that it is scored on; all heads' answers are scored together.
    views : sequence of int
        Test-time views, whose probabilities are averaged.

    Returns
    -------
    tuple of Silenced
        For each of FRACTIONS. Outputs after the activation are zeroed and the others left as they are (dropout would
        scale them up). Empty for a head without hidden layers.
    """
    hidden = [place for place, layer in enumerate(plan) if layer.kind == "activation"][:-1]
    if not hidden:
        return ()
    scored = [_evenly(of_head) for of_head in rows]
    labels = np.concatenate([photos.labels[of_head] for of_head in scored])
    outputs = [  # of the first hidden layer, by head and view: the costly part, computed once
        [probabilities(photos.features(view, some), plan=plan[: hidden[0] + 1], weights=arrays) for view in views]
        for some, arrays in zip(scored, heads, strict=True)
    ]
    draw = np.random.default_rng(seed)
    found = []
    for fraction in FRACTIONS:
        scores = []
        for _ in range(N_DRAWS if fraction else 1):
            answers = [
                _answer(of_views, hidden=hidden, plan=plan, arrays=arrays, fraction=fraction, draw=draw)
                for of_views, arrays in zip(outputs, heads, strict=True)
            ]
            scores.append(score(np.concatenate(answers), labels))
        found.append(Silenced(fraction, tuple(loss for loss, _ in scores), tuple(accuracy for _, accuracy in scores)))
    return tuple(found)


def _evenly(rows: IntArray) -> IntArray:
    return rows[np.linspace(0, len(rows) - 1, min(MAX_PHOTOS, len(rows))).astype(np.int64)]


def _answer(
    outputs: Sequence[Float32Array],
    *,
    hidden: Sequence[int],
    plan: Sequence[Layer],
    arrays: Arrays,
    fraction: float,
    draw: np.random.Generator,
) -> Float32Array:
    """One head's probabilities with one draw of silent units, the same for each view."""
    units = [layer.units or 0 for layer in plan if layer.kind == "dense"][:-1]
    masks = [draw.permutation(n) >= round(fraction * n) for n in units]
    answers = []
    for output in outputs:
        x = output * masks[0]
        for start, stop, mask in zip(hidden, hidden[1:], masks[1:], strict=False):
            x = probabilities(x, plan=plan[start + 1 : stop + 1], weights=arrays) * mask
        answers.append(probabilities(x, plan=plan[hidden[-1] + 1 :], weights=arrays))
    return np.asarray(np.mean(answers, axis=0, dtype=np.float32))
