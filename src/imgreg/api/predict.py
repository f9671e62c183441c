"""imgreg predict: photos through a run's own base and head, answers in input order as they come. No TensorFlow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import tee
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from imgreg.analysis.conformal import prediction_sets
from imgreg.analysis.novelty import distances
from imgreg.api.classifier import Classifier, Member
from imgreg.api.prediction import Prediction
from imgreg.data import decode as decoding
from imgreg.errors import ArtefactError, PhotoError
from imgreg.features.stored import to_stored
from imgreg.features.tta import mirrored, tta_views
from imgreg.heads.calibration import FloatArray, apply_temperature
from imgreg.heads.ensemble import mean_probabilities, tuned_probabilities
from imgreg.heads.forward import majority

UInt8Array = NDArray[np.uint8]
T = TypeVar("T")


def predict(paths: Iterable[Path], *, classifier: Classifier) -> Iterator[Prediction]:
    """Predict each photo, in order. One that cannot be read gets an error and does not stop the others."""
    streams = tee(paths, len(classifier.members))
    read = _decoded_here if classifier.one_photo else _decoded_in_workers
    answers = [_answers(stream, member, read) for stream, member in zip(streams, classifier.members, strict=True)]
    for together in zip(*answers, strict=True):
        path, error, _ = together[0]
        if error is not None:
            yield Prediction(path, error=str(error))
        else:
            yield _prediction(path, [given for _, _, given in together if given is not None], classifier=classifier)


def _prediction(path: Path, given: Sequence[_Given], *, classifier: Classifier) -> Prediction:
    rows = np.concatenate([one.rows for one in given])
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
        prediction_set=_prediction_set(mean, classifier),
        training_distance=given[0].distance if classifier.novelty_threshold is not None else None,
        training_distance_threshold=classifier.novelty_threshold,
    )


def _prediction_set(row: FloatArray, classifier: Classifier) -> tuple[str, ...] | None:
    """row   (n_classes,)"""
    if classifier.thresholds is None:
        return None
    inside = prediction_sets(row, thresholds=classifier.thresholds)
    return tuple(label for label, chosen in zip(classifier.classes, inside, strict=True) if chosen)


def _answers(
    paths: Iterable[Path], member: Member, read: Callable[[Iterable[Path], int], Iterator[UInt8Array | PhotoError]]
) -> Iterator[tuple[Path, PhotoError | None, _Given | None]]:
    """Each path in order with its error, or with what the heads give for it."""
    card = member.runs[0].card
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

    for given in _given(pixels_in_order(), member):
        yield from failures()
        path, _ = waiting.popleft()
        yield path, None, given
    yield from failures()


def photo_probabilities(photos: Iterable[UInt8Array], *, classifier: Classifier) -> Iterator[FloatArray]:
    """Answer for decoded photos with the probabilities that `predict` gives for their files.

    Parameters
    ----------
    photos : iterable of (size, size, 3) uint8
        RGB, decoded to the run's image size.
    classifier : Classifier
        A single run.

    Yields
    ------
    (n_classes,) float
    """
    (member,) = classifier.members
    for given in _given(photos, member):
        yield given.rows.mean(axis=0)


def predict_decoded(photo: UInt8Array, *, path: Path, classifier: Classifier) -> Prediction:
    """Predict a photo that is decoded already, as `predict` does its file. Several threads may call it at once.

    Parameters
    ----------
    photo : (size, size, 3) uint8
        RGB, decoded to the run's image size.
    classifier : Classifier
        A single run.
    """
    (member,) = classifier.members
    (given,) = _given([photo], member)
    return _prediction(path, [given], classifier=classifier)


@dataclass(frozen=True)
class _Given:
    """What a member gives for one photo.

    rows        (n_runs, n_classes) probabilities, each at its own run's temperature
    distance    to the train photos; None where there are several runs, or too few train photos are kept
    """

    rows: FloatArray
    distance: float | None


def _given(photos: Iterable[UInt8Array], member: Member) -> Iterator[_Given]:
    """What the member gives for each photo, in order."""
    card = member.runs[0].card
    views = len(tta_views(mirror=card.mirror))
    embedded = (
        to_stored(one, card.stored)[None if one.ndim == 3 else ...]  # a row, or one for the base and each tuned block
        for one in member.engine.embed(_views(photos, mirror=card.mirror))
    )
    for stored in _batched(embedded, views):
        with np.errstate(over="ignore", invalid="ignore"), one_blas_thread():
            rows = [
                apply_temperature(
                    (tuned_probabilities if run.blocks else mean_probabilities)(
                        stored, plan=run.card.plan, heads=run.heads
                    ),
                    run.temperature,
                )
                for run in member.runs
            ]
            distance = _training_distance(stored[0][:1], member)
        together = np.concatenate(rows)
        if not np.isfinite(together).all():
            raise ArtefactError(
                "the head returned a probability that is not a number: it is damaged. Train the run again."
            )
        yield _Given(together, distance)


def _views(photos: Iterable[UInt8Array], *, mirror: bool) -> Iterator[UInt8Array]:
    """Each photo, followed by its mirror image where that is asked for."""
    for photo in photos:
        yield photo
        if mirror:
            yield mirrored(photo)


def _batched(items: Iterable[T], n: int) -> Iterator[tuple[T, ...]]:
    """Groups of n items in order."""
    together: list[T] = []
    for item in items:
        together.append(item)
        if len(together) == n:
            yield tuple(together)
            together = []


def _training_distance(stored: NDArray[np.float16], member: Member) -> float | None:
    """stored   (1, h, w, n_channels)"""
    if member.references is None:
        return None
    descriptor = stored.mean(axis=(1, 2), dtype=np.float32)
    return float(distances(descriptor, references=member.references)[0])


class _BlasUsers:
    """Threads inside `one_blas_thread`: the limit is the process's, so the first sets it and the last lifts it."""

    lock, n, limit = Lock(), 0, cast(Any, None)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let one thread multiply a photo's features with the head's weights, while the others work on the next photos.

    A product with one row is too small to share: several threads wait for each other longer than they compute, and
    where every core is busy 8 ms instead of 0.5 (docs/log.md). How many there are would also decide about the last bit.
    """
    with _BlasUsers.lock:
        if _BlasUsers.n == 0:
            _BlasUsers.limit = _blas().limit(limits=1, user_api="blas")
        _BlasUsers.n += 1
    try:
        yield
    finally:
        with _BlasUsers.lock:
            _BlasUsers.n -= 1
            if _BlasUsers.n == 0:
                _BlasUsers.limit.restore_original_limits()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def _decoded_here(paths: Iterable[Path], size_px: int) -> Iterator[UInt8Array | PhotoError]:
    for path in paths:
        try:
            yield decoding.decode_file(path, size_px=size_px)
        except PhotoError as error:
            yield error


def _decoded_in_workers(paths: Iterable[Path], size_px: int) -> Iterator[UInt8Array | PhotoError]:
    """In processes of their own: a hostile file costs its own answer, not those of the others."""
    from imgreg.data.isolated_reading import in_workers

    yield from in_workers(partial(decoding.decode_file, size_px=size_px), paths, failed=lambda _, error: error)
