"""imgreg predict: photos through a run's own base and head, answers in input order as they come. No TensorFlow."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from imgreg.errors import ArtefactError, PhotoError
from imgreg.features.engines import Engine, has_bfloat16, load_engine
from imgreg.features.stored import to_stored
from imgreg.heads.forward import majority, probabilities
from imgreg.heads.store import ModelCard, SavedHead, load_card, load_head
from imgreg.photos import decode as decoding
from imgreg.places import cache_folder
from imgreg.workflows.watch import Watcher

if TYPE_CHECKING:
    from imgreg.features.weights import Weights

UInt8Array = NDArray[np.uint8]
Vote = Literal["mean", "majority"]


@dataclass(frozen=True)
class Prediction:
    """One photo's answer, or why there is none. `votes` counts the heads that answer a class, where there are several;
    probabilities are then their mean."""

    path: Path
    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    votes: dict[str, int] | None = None
    error: str | None = None


@dataclass(frozen=True)
class _Member:
    """Heads on one base, and that base in an engine."""

    heads: tuple[SavedHead, ...]
    engine: Engine


@dataclass(frozen=True)
class Classifier:
    """A run, or several that vote, ready to answer.

    one_photo   it is for one photo, which is decoded in this process; many are, each in a process with bounds
    vote        mean: the class of the highest mean probability; majority: the one most heads answer, the mean among
                equals
    """

    members: tuple[_Member, ...]
    vote: Vote = "mean"
    one_photo: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        return self.members[0].heads[0].card.classes


def load_classifier(
    runs: Sequence[Path], *, vote: Vote = "mean", one_photo: bool = False, watcher: Watcher | None = None
) -> Classifier:
    """Load run folders; their preprocessing, weights and image sizes are enforced. Runs on the same base share it.

    one_photo   every core works on the same photo: soonest for one, slower for many
    raises      ArtefactError if a run is damaged, its base is not to be had with the recorded bytes, or the runs tell
                different classes apart
    """
    by_base: dict[tuple[object, ...], list[Path]] = {}
    first: tuple[str, ...] | None = None
    for run in runs:
        card = checked_card(run)
        first = first or card.classes
        if card.classes != first:
            raise ArtefactError(
                f"{run} tells {', '.join(card.classes)} apart, {runs[0]} {', '.join(first)}: they cannot vote. "
                "Give runs of the same classes."
            )
        base = (card.weights_sha256, card.image_size, card.engine, card.precision, card.stored)
        by_base.setdefault(base, []).append(run)
    members = []
    for together in by_base.values():
        with ThreadPoolExecutor(1) as pool:
            heads = [pool.submit(load_head, run) for run in together]  # hashes their arrays
            card = load_card(together[0])
            engine = _load_base(card, run=together[0], one_photo=one_photo, watcher=watcher or Watcher())
            members.append(_Member(tuple(head.result() for head in heads), engine))
    return Classifier(tuple(members), vote, one_photo)


def checked_card(run: Path) -> ModelCard:
    """A run's model.json. raises ArtefactError if it cannot be read, or its photos were decoded by other rules"""
    card = load_card(run)
    if card.decode_policy != decoding.POLICY:
        raise ArtefactError(
            f"{run}: its photos were decoded by policy {card.decode_policy}, this imgreg has "
            f"{decoding.POLICY}. Train the run again, or use the imgreg that trained it."
        )
    return card


def predict(paths: Iterable[Path], *, classifier: Classifier) -> Iterator[Prediction]:
    """Answer for each path, in order. A photo that cannot be read gets an error and does not stop the others."""
    streams = tee(paths, len(classifier.members))
    read = _decoded_here if classifier.one_photo else _decoded_apart
    answers = [_answers(stream, member, read) for stream, member in zip(streams, classifier.members, strict=True)]
    for together in zip(*answers, strict=True):
        path, error, _ = together[0]
        if error is not None:
            yield Prediction(path, error=str(error))
        else:
            rows = np.concatenate([rows for _, _, rows in together if rows is not None])
            yield _prediction(path, rows, classifier=classifier)


def _prediction(path: Path, rows: NDArray[np.float32], *, classifier: Classifier) -> Prediction:
    """rows   (n_heads, n_classes) probabilities"""
    classes = classifier.classes
    mean = rows.mean(axis=0)
    counts = np.bincount(rows.argmax(axis=1), minlength=len(classes))
    best = int(majority(rows[:, None])[0] if classifier.vote == "majority" else mean.argmax())
    return Prediction(
        path,
        classes[best],
        float(mean[best]),
        {label: float(p) for label, p in zip(classes, mean, strict=True)},
        votes={label: int(n) for label, n in zip(classes, counts, strict=True)} if len(rows) > 1 else None,
    )


def _answers(
    paths: Iterable[Path], member: _Member, read: Callable[[Iterable[Path], int], Iterator[UInt8Array | PhotoError]]
) -> Iterator[tuple[Path, PhotoError | None, NDArray[np.float32] | None]]:
    """Each path in order with its error, or with a row of probabilities from each head."""
    card = member.heads[0].card
    waiting: deque[tuple[Path, PhotoError | None]] = deque()

    def pixels_in_order() -> Iterator[UInt8Array]:
        asked, named = tee(paths)
        for path, decoded in zip(named, read(asked, card.image_size), strict=False):
            waiting.append((path, decoded if isinstance(decoded, PhotoError) else None))
            if not isinstance(decoded, PhotoError):
                yield decoded

    def failures() -> Iterator[tuple[Path, PhotoError | None, None]]:
        while waiting and waiting[0][1] is not None:
            yield (*waiting.popleft(), None)

    for rows in _head_rows(pixels_in_order(), member):
        yield from failures()
        path, _ = waiting.popleft()
        yield path, None, rows
    yield from failures()


def photo_probabilities(photos: Iterable[UInt8Array], *, classifier: Classifier) -> Iterator[NDArray[np.float32]]:
    """Answer for decoded photos with the probabilities that `predict` gives for their files.

    Parameters
    ----------
    photos : iterable of (size, size, 3) uint8
        RGB, decoded to the run's image size.
    classifier : Classifier
        A single run.

    Yields
    ------
    (n_classes,) float32
    """
    (member,) = classifier.members
    for rows in _head_rows(photos, member):
        yield rows.mean(axis=0)


def _head_rows(photos: Iterable[UInt8Array], member: _Member) -> Iterator[NDArray[np.float32]]:
    """(n_heads, n_classes) probabilities for each photo, in order"""
    for features in member.engine.embed(photos):
        stored = to_stored(features, member.heads[0].card.stored)[None]
        with np.errstate(over="ignore", invalid="ignore"):
            each = [probabilities(stored, plan=head.card.plan, weights=head.weights) for head in member.heads]
        rows = np.concatenate(each)
        if not np.isfinite(rows).all():
            raise ArtefactError("the head gave a probability that is not a number: it is damaged. Train the run again.")
        yield rows


def _decoded_here(paths: Iterable[Path], size_px: int) -> Iterator[UInt8Array | PhotoError]:
    for path in paths:
        try:
            with _quiet_libraries():
                pixels = decoding.decode_file(path, size_px=size_px)
        except PhotoError as error:
            yield error
        else:
            yield pixels


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    """Keep what C libraries (libtiff) write to stderr off the terminal while imgreg has nothing to say itself."""
    sys.stderr.flush()
    stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def _decoded_apart(paths: Iterable[Path], size_px: int) -> Iterator[UInt8Array | PhotoError]:
    """In processes of their own: a hostile file costs its own answer, not those of the others."""
    from imgreg.photos.workers import in_workers

    yield from in_workers(partial(decoding.decode_file, size_px=size_px), paths, failed=lambda _, error: error)


def recorded_weights(card: ModelCard, *, run: Path) -> Weights:
    """The base's weights that a run was trained on. raises ArtefactError if those to be had are others"""
    from imgreg.features.weights import resolve_weights

    weights = resolve_weights(card.weights)
    if weights.sha256 != card.weights_sha256:
        raise ArtefactError(
            f"{run}: was trained on {card.weights} weights with SHA-256 {card.weights_sha256[:16]}..., "
            f"but {weights.path} has {weights.sha256[:16]}.... Find the old file, or train again."
        )
    return weights


def _load_base(card: ModelCard, *, run: Path, one_photo: bool, watcher: Watcher) -> Engine:
    precision = card.precision
    if card.engine == "openvino" and precision == "bfloat16" and not has_bfloat16():
        precision = "float32"
        watcher.say(
            f"{run} was trained on bfloat16 features, but this processor has no bfloat16. Using float32: "
            "probabilities may differ slightly from those of the machine that trained it."
        )

    def find_weights() -> Weights:
        watcher.say("Preparing the frozen base for this machine, once.")
        return recorded_weights(card, run=run)

    return load_engine(
        card.engine,
        precision,
        weights_sha256=card.weights_sha256,
        find_weights=find_weights,
        size_px=card.image_size,
        cache=cache_folder(),
        one_photo=one_photo,
    )
