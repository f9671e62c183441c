"""The honest history of one training: a row an epoch, and each photo's probabilities at each epoch.

Train and validation loss of an epoch come from the same weights (those at the epoch's end), by the same function,
in inference mode, on unaugmented photos, without weight penalties. `objective` is what the optimizer saw instead:
Keras' running loss over the epoch, with dropout, augmentation and penalties.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from imgreg.runs.layers import LayerRow

Float32Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One row of history.csv. Losses are mean cross-entropies in nats; accuracies are between 0 and 1."""

    epoch: int  # counted from 1
    learning_rate: float
    objective: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    weight_penalty: float  # the L1 and L2 terms at the epoch's end
    seconds: float

    @property
    def gap(self) -> float:
        """Generalization gap: validation minus train cross-entropy."""
        return self.val_loss - self.train_loss


@dataclass(frozen=True)
class History:
    """All epochs of one training.

    Attributes
    ----------
    epochs : tuple of Epoch
        In order, at least one.
    val_probabilities : (n_epochs, n_val, n_classes) float32
        Photos as in split.csv.
    train_true_class : (n_epochs, n_train) float32 or None
        Of each unaugmented train photo, the probability of its own class.
    layers : tuple of LayerRow
        Dense layers of the (first) head at the end of some epochs.
    kept_epoch : int or None
        Whose head was kept; None for the best epoch.
    """

    epochs: tuple[Epoch, ...]
    val_probabilities: Float32Array
    train_true_class: Float32Array | None = None
    layers: tuple[LayerRow, ...] = ()
    kept_epoch: int | None = None

    @property
    def best(self) -> Epoch:
        """The epoch of the lowest validation cross-entropy; the first of equals."""
        return min(self.epochs, key=lambda row: row.val_loss)

    @property
    def kept(self) -> Epoch:
        """The epoch whose head was kept, and answers from then on."""
        return self.best if self.kept_epoch is None else self.epochs[self.kept_epoch - 1]

    @property
    def last(self) -> Epoch:
        return self.epochs[-1]

    def column(self, name: str) -> NDArray[np.float64]:
        """One figure over the epochs, (n_epochs,) float64."""
        return np.array([getattr(row, name) for row in self.epochs], dtype=np.float64)


def epochs_of_csv(lines: Iterable[str]) -> tuple[Epoch, ...]:
    """Read the lines of history.csv. raises KeyError, TypeError or ValueError on any other table"""
    epochs = tuple(_epoch(row) for row in csv.DictReader(lines))
    if not epochs:
        raise ValueError("the history has no epochs")
    return epochs


def _epoch(row: dict[str, str]) -> Epoch:
    figures = {field.name: float(row[field.name]) for field in fields(Epoch) if field.name != "epoch"}
    return Epoch(epoch=int(row["epoch"]), **figures)
