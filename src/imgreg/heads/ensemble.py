"""Heads that answer together: those of a cross-validated run, by the mean of their probabilities.

In: features of a photo's test-time views, a plan and the arrays of each head. Out: probabilities. No Keras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from imgreg.heads.forward import probabilities
from imgreg.heads.plan import Layer

Float32Array = NDArray[np.float32]
Arrays = Mapping[str, Float32Array]  # of one head, named layer/array
T = TypeVar("T")


def mean_probabilities(
    views: Sequence[NDArray[np.floating]], *, plan: Sequence[Layer], heads: Sequence[Arrays]
) -> Float32Array:
    """Average the probabilities over test-time views and heads.

    Parameters
    ----------
    views : sequence of (n, h, w, c) float
        Features of the same photos, one array for each view.

    Returns
    -------
    (n, n_classes) float32
    """
    answers = [probabilities(features, plan=plan, weights=head) for head in heads for features in views]
    return answers[0] if len(answers) == 1 else np.mean(answers, axis=0, dtype=np.float32)


def tuned_probabilities(
    views: Sequence[NDArray[np.floating]], *, plan: Sequence[Layer], heads: Sequence[Arrays]
) -> Float32Array:
    """Average one photo's probabilities over test-time views and fine-tuned heads.

    Parameters
    ----------
    views : sequence of (1 + n_heads, h, w, c) float
        The photo's features by the frozen base, then by each head's own fine-tuned block.

    Returns
    -------
    (1, n_classes) float32
    """
    answers = [
        probabilities(features[k : k + 1], plan=plan, weights=head)
        for k, head in enumerate(heads, start=1)
        for features in views
    ]
    return answers[0] if len(answers) == 1 else np.mean(answers, axis=0, dtype=np.float32)


def joined(heads: Sequence[Mapping[str, T]]) -> dict[str, T]:
    """Name the arrays of several heads for one file: layer/array for a single head, else head_1/layer/array.

    >>> sorted(joined([{"classes/bias": np.zeros(2)}] * 2))
    ['head_1/classes/bias', 'head_2/classes/bias']
    """
    if len(heads) == 1:
        return dict(heads[0])
    return {f"head_{k}/{name}": array for k, head in enumerate(heads, start=1) for name, array in head.items()}


def separated(arrays: Arrays, *, n_heads: int) -> tuple[Arrays, ...]:
    """Undo `joined`."""
    if n_heads == 1:
        return (arrays,)
    prefixes = [f"head_{k}/" for k in range(1, n_heads + 1)]
    return tuple(
        {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        for prefix in prefixes
    )
