"""What heads give at an epoch's end, put together: one row of figures over all heads.

In: each head's probabilities of its own photos. Out: an epoch's row. Must not know: how heads are trained.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imgreg.heads.forward import cross_entropies, score
from imgreg.heads.views import IntArray, Labelled
from imgreg.runs.history import Epoch


@dataclass(frozen=True)
class Fold:
    """What one head is trained on, and the photos that it is scored on: rows of `train` and of `val`."""

    train: IntArray
    val: IntArray


@dataclass(frozen=True)
class HeadData:
    """What heads are trained and scored on.

    Attributes
    ----------
    train, val : Labelled
        Features and labels; the train photos' augmented views among them.
    n_classes : int
    folds : sequence of Fold
        One a head; by default one of all photos.
    """

    train: Labelled
    val: Labelled
    n_classes: int
    folds: Sequence[Fold] = ()

    def __post_init__(self) -> None:
        if not self.folds:
            everyone = Fold(np.arange(len(self.train.labels)), np.arange(len(self.val.labels)))
            object.__setattr__(self, "folds", (everyone,))


@dataclass(frozen=True)
class HeadEpoch:
    """What one head gives at an epoch's end; probabilities are of its own train and validation photos."""

    objective: float
    weight_penalty: float
    learned: NDArray[np.float32]
    predicted: NDArray[np.float32]


def pooled(done: Sequence[HeadEpoch], data: HeadData) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Put the heads' answers together.

    Returns
    -------
    (n_val, n_classes) float32
        Each photo's probabilities by the head that was not trained on it.
    (n_train,) float32
        Each photo's probability of its own class, the geometric mean over the heads that were trained on it.
    """
    folds, train, val = data.folds, data.train, data.val
    if len(done) == 1 and len(folds[0].train) == len(train.labels):
        (one,) = done
        return one.predicted, one.learned[np.arange(len(train.labels)), train.labels]
    predicted = np.zeros((len(val.labels), done[0].predicted.shape[1]), np.float32)
    logs, counts = np.zeros(len(train.labels)), np.zeros(len(train.labels))
    for fold, one in zip(folds, done, strict=True):
        predicted[fold.val] = one.predicted
        logs[fold.train] -= cross_entropies(one.learned, train.labels[fold.train])
        counts[fold.train] += 1
    return predicted, np.exp(logs / np.maximum(counts, 1)).astype(np.float32)


def epoch_row(
    done: Sequence[HeadEpoch], predicted: NDArray[np.float32], data: HeadData, *, number: int, rate: float
) -> Epoch:
    """One epoch's figures over all heads, without the seconds it took."""
    folds, train, val = data.folds, data.train, data.val
    learned = [score(one.learned, train.labels[fold.train]) for one, fold in zip(done, folds, strict=True)]
    shares = np.array([len(fold.train) for fold in folds]) / sum(len(fold.train) for fold in folds)
    val_loss, val_accuracy = score(predicted, val.labels)
    return Epoch(
        epoch=number,
        learning_rate=float(f"{rate:.7g}"),  # seven digits are float32's: 0.001, not 0.00100000004
        objective=float(shares @ [one.objective for one in done]),
        train_loss=float(shares @ [loss for loss, _ in learned]),
        train_accuracy=float(shares @ [accuracy for _, accuracy in learned]),
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        weight_penalty=float(np.mean([one.weight_penalty for one in done])),
        seconds=0.0,
    )


def epochs_since_better(val_losses: Sequence[float], *, min_delta: float = 0.0) -> int:
    """Count the epochs since the last that was better by more than min_delta nats, as keras.callbacks.EarlyStopping.

    >>> epochs_since_better([0.9, 0.8, 0.79, 0.78]), epochs_since_better([0.9, 0.8, 0.79, 0.78], min_delta=0.05)
    (0, 2)
    """
    best, n_waited = math.inf, 0
    for loss in val_losses:
        if loss < best - min_delta:
            best, n_waited = loss, 0
        else:
            n_waited += 1
    return n_waited


def not_finite(model: Any, done: HeadEpoch) -> Literal["the loss became", "the weights became"] | None:
    """What is no longer a finite number after a head's epoch; None if all is well.

    The weights are looked at for themselves: a gradient that is not finite stays in them, whereas the loss may come out
    finite because some processors' relu turns NaN into 0.
    """
    import tensorflow as tf

    if not math.isfinite(done.objective) or not all(np.isfinite(p).all() for p in (done.learned, done.predicted)):
        return "the loss became"
    weights = [v for v in model.variables if v.dtype == "float32"]  # not the state of dropout's seeds
    if not all(bool(tf.reduce_all(tf.math.is_finite(v.value))) for v in weights):
        return "the weights became"
    return None
