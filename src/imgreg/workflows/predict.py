"""imgreg predict: photos through a run's own base and head, answers in input order as they come. No TensorFlow."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from imgreg.errors import ArtefactError, MachineError, PhotoError
from imgreg.features.engines import Engine, choose_engine, load_engine
from imgreg.features.read_ahead import read_ahead
from imgreg.features.stored import to_stored
from imgreg.heads.forward import probabilities
from imgreg.heads.store import ModelCard, SavedHead, load_card, load_head
from imgreg.photos import decode as decoding
from imgreg.places import cache_folder
from imgreg.workflows.watch import Watcher

if TYPE_CHECKING:
    from imgreg.features.weights import Weights

UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True)
class Prediction:
    """One photo's answer, or why there is none."""

    path: Path
    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Classifier:
    """A run that is ready to answer: its head, and its base in an engine."""

    head: SavedHead
    engine: Engine


def load_classifier(run: Path, *, one_photo: bool = False, watcher: Watcher | None = None) -> Classifier:
    """Load a run folder; its preprocessing, weights and image size are enforced.

    one_photo   every core works on the same photo: soonest for one, slower for many
    raises      ArtefactError if the run is damaged or its base is not to be had with the recorded bytes
    """
    card = load_card(run)
    if card.decode_policy != decoding.POLICY:
        raise ArtefactError(
            f"{run}: its photos were decoded by policy {card.decode_policy}, this imgreg has "
            f"{decoding.POLICY}. Train the run again, or use the imgreg that trained it."
        )
    with ThreadPoolExecutor(1) as pool:
        head = pool.submit(load_head, run)  # hashes its arrays
        engine = _load_base(card, run=run, one_photo=one_photo, watcher=watcher or Watcher())
        return Classifier(head.result(), engine)


def predict(paths: Iterable[Path], *, classifier: Classifier) -> Iterator[Prediction]:
    """Answer for each path, in order. A photo that cannot be read gets an error and does not stop the others."""
    saved, engine = classifier.head, classifier.engine
    size_px = saved.card.image_size
    waiting: deque[tuple[Path, PhotoError | None]] = deque()

    def pixels_in_order() -> Iterator[UInt8Array]:
        for path, decoded in read_ahead(lambda path: (path, _decoded(path, size_px=size_px)), paths):
            waiting.append((path, decoded if isinstance(decoded, PhotoError) else None))
            if not isinstance(decoded, PhotoError):
                yield decoded

    def failures() -> Iterator[Prediction]:
        while waiting and waiting[0][1] is not None:
            path, error = waiting.popleft()
            yield Prediction(path, error=str(error))

    for features in engine.embed(pixels_in_order()):
        yield from failures()
        path, _ = waiting.popleft()
        stored = to_stored(features, saved.card.stored)
        row = probabilities(stored[None], plan=saved.card.plan, weights=saved.weights)[0]
        best = int(row.argmax())
        shares = {label: float(p) for label, p in zip(saved.card.classes, row, strict=True)}
        yield Prediction(path, saved.card.classes[best], float(row[best]), shares)
    yield from failures()


def _decoded(path: Path, *, size_px: int) -> UInt8Array | PhotoError:
    try:
        if path.exists() and not path.is_file():
            raise PhotoError("not a regular file")
        return decoding.decode(decoding.read_bytes(path), size_px=size_px)
    except PhotoError as error:
        return error


def _load_base(card: ModelCard, *, run: Path, one_photo: bool, watcher: Watcher) -> Engine:
    precision = card.precision
    if card.engine == "openvino" and precision == "bfloat16":
        from imgreg.config import Base

        try:
            choose_engine(Base(engine="openvino", precision="bfloat16"), say=watcher.say)
        except MachineError:
            precision = "float32"
            watcher.say(f"{run} was trained on bfloat16 features, which this processor lacks; float32 is used.")

    def find_weights() -> Weights:
        from imgreg.features.weights import resolve_weights

        watcher.say("Preparing the frozen base for this machine, once.")
        weights = resolve_weights(card.weights)
        if weights.sha256 != card.weights_sha256:
            raise ArtefactError(
                f"{run}: was trained on {card.weights} weights with SHA-256 {card.weights_sha256[:16]}..., "
                f"but {weights.path} has {weights.sha256[:16]}.... Find the old file, or train again."
            )
        return weights

    return load_engine(
        card.engine,
        precision,
        weights_sha256=card.weights_sha256,
        find_weights=find_weights,
        size_px=card.image_size,
        cache=cache_folder(),
        one_photo=one_photo,
    )
