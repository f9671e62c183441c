"""The state of a training between two epochs, in one file, so that a killed one resumes and ends with the same bits.

In: the arrays of model and optimizer, and the history so far. Out: the same, or nothing where no whole file is.
Must not know: Keras, and which training it is (its path says that).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from imgreg.atomic_write import left_behind, write_atomic
from imgreg.runs.folder import values_to_csv
from imgreg.runs.history import Epoch, History
from imgreg.runs.layers import LayerRow, layers_of_csv

WRITING_SHARE = 0.1  # of the training's time may go into writing checkpoints
FIRST_SECONDS = 1.0  # a training that is shorter writes none
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Checkpoint:
    """All that the next epoch depends on, besides the settings and the features.

    Attributes
    ----------
    variables : list of arrays
        Of each head: the model's, then the optimizer's, in Keras' own order; dropout's seeds are among them. In
        fine-tuning the model is the unfrozen block with the head.
    best_weights, best_blocks : mapping
        Of the heads at the epoch that is kept, and of their fine-tuned convolutions, if that epoch has some; as
        `ensemble.joined` names them.
    history : History
        Of the epochs so far.
    finetuned_from : int or None
        The first fine-tuning epoch; None while the head alone is trained.
    """

    variables: list[NDArray[Any]]
    best_weights: Mapping[str, NDArray[np.float32]]
    history: History
    best_blocks: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    finetuned_from: int | None = None


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the file, whole or not at all. raises OSError"""
    arrays = {f"variable/{place}": array for place, array in enumerate(checkpoint.variables)}
    arrays |= {f"best/{name}": array for name, array in checkpoint.best_weights.items()}
    arrays |= {f"block/{name}": array for name, array in checkpoint.best_blocks.items()}
    if checkpoint.finetuned_from is not None:
        arrays["finetuned_from"] = np.array(checkpoint.finetuned_from)
    history = checkpoint.history
    assert history.train_true_class is not None  # fit_head keeps it
    arrays["kept_epoch"] = np.array(history.kept.epoch)
    arrays["epochs"] = np.array([astuple(row) for row in history.epochs], dtype=np.float64)
    arrays["val_probabilities"] = history.val_probabilities
    arrays["train_true_class"] = history.train_true_class
    if history.layers:
        arrays["layers"] = np.frombuffer(values_to_csv(LayerRow, history.layers).encode(), np.uint8)
    content = save(arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, _digest(content), content)


def read_checkpoint(path: Path) -> Checkpoint | None:
    """What write_checkpoint wrote last; None if there is no file, or one that is not whole."""
    try:
        digest, content = (data := path.read_bytes())[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
        if digest != _digest(content):
            return None
        arrays = load(content)
        n_variables = sum(name.startswith("variable/") for name in arrays)
        return Checkpoint(
            variables=[arrays[f"variable/{place}"] for place in range(n_variables)],
            best_weights=_under("best/", arrays),
            history=History(
                tuple(_epoch(row) for row in arrays["epochs"]),
                arrays["val_probabilities"],
                arrays["train_true_class"],
                layers_of_csv(arrays["layers"].tobytes().decode().splitlines()) if "layers" in arrays else (),
                kept_epoch=int(arrays["kept_epoch"]),
            ),
            best_blocks=_under("block/", arrays),
            finetuned_from=int(arrays["finetuned_from"]) if "finetuned_from" in arrays else None,
        )
    except (OSError, SafetensorError, KeyError):
        return None


def forget_checkpoint(path: Path) -> None:
    """Remove the file, and what killed writers left of it."""
    path.unlink(missing_ok=True)
    for left in left_behind(path.parent, path.name):
        left.unlink(missing_ok=True)


def checkpointer(path: Path, *, say: Callable[[str], None]) -> Callable[[Callable[[], Checkpoint]], None]:
    """What is called at each epoch's end with a function that takes the checkpoint, and writes it as often as
    WRITING_SHARE allows: after each epoch, where epochs are long or the head is small.

    say   gets one warning if the disk refuses: the training continues without checkpoints
    """
    due, refused = time.perf_counter() + FIRST_SECONDS, False

    def keep(take: Callable[[], Checkpoint]) -> None:
        nonlocal due, refused
        began = time.perf_counter()
        if refused or began < due:
            return
        try:
            write_checkpoint(path, take())
        except OSError as error:
            refused = True
            say(
                f"{path}: cannot write the checkpoint ({error.strerror}). If this training is interrupted, it will "
                "start over."
            )
        ended = time.perf_counter()
        due = ended + (ended - began) * (1 / WRITING_SHARE - 1)

    return keep


def _under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).digest()


def _epoch(row: NDArray[np.float64]) -> Epoch:
    figures = dict(zip((field.name for field in fields(Epoch)), row.tolist(), strict=True))
    return Epoch(**figures | {"epoch": int(figures["epoch"])})
