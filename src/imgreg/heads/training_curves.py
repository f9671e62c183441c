"""What a training records: honest curves over all heads, and the heads of the epoch that is kept.

In: the features of a split, and what each head gives at an epoch's end. Out: a FittedHead. The same weights score the
clean train photos and the validation photos by one function, in inference mode, as plain cross-entropy. Must not know:
how a step is taken.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imgreg.heads.ensemble import Arrays
from imgreg.heads.forward import cross_entropies, score
from imgreg.heads.monitor import LayerMonitor
from imgreg.heads.views import IntArray, Labelled
from imgreg.runs.history import Epoch, History


@dataclass(frozen=True)
class FittedHead:
    """The head of the epoch that was kept, with its history; of a cross-validated training, its heads.

    Attributes
    ----------
    heads : tuple of mapping
        Of each head its arrays, named layer/array.
    blocks : tuple of mapping
        Of each head the convolutions that were fine-tuned with it; empty where the frozen base is kept.
    finetuned_from : int or None
        The first fine-tuning epoch; None without.
    warning : str
        Why fine-tuning ended before its time, where it diverged.
    """

    heads: tuple[Arrays, ...]
    history: History
    n_parameters: int
    blocks: tuple[Arrays, ...] = ()
    finetuned_from: int | None = None
    warning: str = ""


@dataclass(frozen=True)
class Fold:
    """What one head is trained on, and the photos that it is scored on: rows of `train` and of `val`."""

    train: IntArray
    val: IntArray


@dataclass(frozen=True)
class SplitFeatures:
    """The features of train and validation photos, and the folds if there are several heads.

    Attributes
    ----------
    folds : sequence of Fold
        One for each head. By default one, of all photos.
    """

    train: Labelled
    val: Labelled
    n_classes: int
    folds: Sequence[Fold] = ()

    def __post_init__(self) -> None:
        everything = Fold(np.arange(len(self.train.labels)), np.arange(len(self.val.labels)))
        object.__setattr__(self, "folds", tuple(self.folds) or (everything,))


@dataclass(frozen=True)
class HeadEpoch:
    """What one head gives at an epoch's end; probabilities are of its own train and validation photos."""

    objective: float
    weight_penalty: float
    learned: NDArray[np.float32]
    predicted: NDArray[np.float32]


class Curves:
    """The epochs so far, and the heads of the one that is kept.

    Parameters
    ----------
    start : FittedHead
        What is there already: of a head that is still to be trained, no epoch and no heads.
    """

    def __init__(self, data: SplitFeatures, start: FittedHead, *, monitor: LayerMonitor | None = None) -> None:
        history = start.history
        self._data, self._start, self._monitor = data, start, monitor
        self.epochs = list(history.epochs)
        self._val_probabilities = list(history.val_probabilities)
        self._train_true_class = [] if history.train_true_class is None else list(history.train_true_class)
        self._heads, self._blocks = start.heads, start.blocks
        self._kept = history.kept if history.epochs else None

    def add(self, done: Sequence[HeadEpoch], *, number: int, rate: float, started: float) -> bool:
        """Record an epoch that began at `started`, by time.perf_counter. Gives whether it beats the kept one."""
        predicted, own = pooled(done, self._data)
        row = _epoch_row(done, self._data, predicted=predicted, number=number, rate=rate)
        self.epochs.append(replace(row, seconds=time.perf_counter() - started))
        self._val_probabilities.append(predicted)
        self._train_true_class.append(own)
        return self._kept is None or row.val_loss < self._kept.val_loss

    def keep(self, pairs: Sequence[tuple[Arrays, Arrays]]) -> None:
        """Take the heads, and the blocks if they were fine-tuned, of the epoch that was added last."""
        self._kept = self.epochs[-1]
        self._heads = tuple(head for head, _ in pairs)
        self._blocks = tuple(block for _, block in pairs if block)

    def fitted(self) -> FittedHead:
        """The heads that are kept, with all epochs."""
        recorded = self._start.history.layers if self._monitor is None else self._monitor.rows
        layers = tuple(row for row in recorded if row.epoch <= len(self.epochs))  # not one in which a head diverged
        kept, values = self._kept, (np.stack(self._val_probabilities), np.stack(self._train_true_class))
        return replace(
            self._start,
            heads=self._heads,
            history=History(tuple(self.epochs), *values, layers, kept_epoch=None if kept is None else kept.epoch),
            blocks=self._blocks,
            finetuned_from=None if (first := self._start.finetuned_from) is None or first > len(self.epochs) else first,
        )


def pooled(done: Sequence[HeadEpoch], data: SplitFeatures) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Put the heads' answers together.

    Returns
    -------
    predicted : (n_val, n_classes) float32
        Each photo's by the head that was not trained on it.
    own : (n_train,) float32
        Each photo's probability of its own class, the geometric mean over the heads that were trained on it.
    """
    train, val, folds = data.train, data.val, data.folds
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


def _epoch_row(
    done: Sequence[HeadEpoch], data: SplitFeatures, *, predicted: NDArray[np.float32], number: int, rate: float
) -> Epoch:
    """One epoch's figures over all heads, without the seconds it took."""
    folds = data.folds
    learned = [score(one.learned, data.train.labels[fold.train]) for one, fold in zip(done, folds, strict=True)]
    shares = np.array([len(fold.train) for fold in folds]) / sum(len(fold.train) for fold in folds)
    val_loss, val_accuracy = score(predicted, data.val.labels)
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
