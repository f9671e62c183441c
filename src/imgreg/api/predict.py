"""imgreg predict: photos through a run's own base and head, answers in input order as they come. No TensorFlow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from itertools import tee
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np
from msgspec import structs
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from imgreg.analysis.conformal import conformal_thresholds, max_confidence, min_held_out, prediction_sets
from imgreg.analysis.novelty import distances, unit_rows
from imgreg.data import decode as decoding
from imgreg.errors import ArtefactError, PhotoError, UsageError
from imgreg.features.blocks import Arrays
from imgreg.features.engines import Engine, EngineSettings, Precision, has_bfloat16, has_int8, load_engine
from imgreg.features.stored import to_stored
from imgreg.features.tta import mirrored, tta_views
from imgreg.heads.calibration import FloatArray, apply_temperature
from imgreg.heads.ensemble import mean_probabilities, tuned_probabilities
from imgreg.heads.forward import majority
from imgreg.heads.store import ModelCard, SavedHead, load_card, load_head
from imgreg.paths import cache_folder, store_address
from imgreg.progress import Watcher

if TYPE_CHECKING:
    from imgreg.features.weights import Weights

UInt8Array = NDArray[np.uint8]
Vote = Literal["mean", "majority"]
T = TypeVar("T")


@dataclass(frozen=True)
class Prediction:
    """One photo's answer, or why there is none.

    Attributes
    ----------
    votes : dict[str, int] or None
        How many heads answer each class, where there are several; probabilities are then their mean.
    prediction_set : tuple of str or None
        The classes that the photo may have at the confidence level asked for; None where none was.
    training_distance : float or None
        Cosine distance to the nearest train photos; beyond the threshold the photo is unlike them. None where several
        runs vote, or the run keeps too few train photos.
    """

    path: Path
    label: str | None = None
    probability: float | None = None
    probabilities: dict[str, float] | None = None
    votes: dict[str, int] | None = None
    prediction_set: tuple[str, ...] | None = None
    training_distance: float | None = None
    training_distance_threshold: float | None = None
    error: str | None = None

    @property
    def abstained(self) -> bool | None:
        """Whether the prediction set names no class, or several; None where there is no set."""
        return None if self.prediction_set is None else len(self.prediction_set) != 1

    @property
    def unlike_training(self) -> bool | None:
        """Whether the photo is unlike those that the head was trained on; None where that is not known."""
        if self.training_distance is None or self.training_distance_threshold is None:
            return None
        return self.training_distance > self.training_distance_threshold


@dataclass(frozen=True)
class _Member:
    """Runs on one base, and that base in an engine."""

    runs: tuple[SavedHead, ...]
    engine: Engine

    @cached_property
    def references(self) -> NDArray[np.float32] | None:
        """The descriptors of the train photos, of unit length; None where there are several runs, or too few photos."""
        kept, arrays = self.runs[0].card.calibration, self.runs[0].calibration
        if len(self.runs) > 1 or kept is None or arrays is None or kept.novelty_threshold is None:
            return None
        return unit_rows(arrays.references)


@dataclass(frozen=True)
class Classifier:
    """A run, or several that vote, ready to predict.

    Attributes
    ----------
    vote : mean or majority
        The class of the highest mean probability, or the one that most heads predict (ties go to the mean).
    one_photo : bool
        Whether a single photo is expected, which is decoded in this process; several are decoded in processes with
        bounds on time and memory.
    confidence : float or None
        Level of the prediction sets; None for none.
    thresholds : (n_classes,) float32 or None
        Least probability at which each class is in the prediction set.
    """

    members: tuple[_Member, ...]
    vote: Vote = "mean"
    one_photo: bool = False
    confidence: float | None = None
    thresholds: NDArray[np.float32] | None = None

    @property
    def size_px(self) -> int:
        """Width and height that photos are decoded to; of the first run."""
        return self.members[0].runs[0].card.image_size

    @property
    def classes(self) -> tuple[str, ...]:
        return self.members[0].runs[0].card.classes

    @property
    def novelty_threshold(self) -> float | None:
        """The distance to the train photos beyond which a photo is unlike them; None where that is not known."""
        runs = [run for member in self.members for run in member.runs]
        calibration = runs[0].card.calibration
        return calibration.novelty_threshold if calibration and len(runs) == 1 else None


def load_classifier(
    runs: Sequence[Path],
    *,
    vote: Vote = "mean",
    one_photo: bool = False,
    confidence: float | None = None,
    mirror: bool | None = None,
    precision: Precision | None = None,
    watcher: Watcher | None = None,
) -> Classifier:
    """Load run folders; their preprocessing, weights and image sizes are enforced. Runs on the same base share it.

    Parameters
    ----------
    one_photo : bool
        Every core works on the same photo: fastest for one, slower for many.
    confidence : float, optional
        Level of the prediction sets, between 0 and 1; for a single run only.
    mirror : bool, optional
        Average over each photo and its mirror image; by default as each run was trained.
    precision : {"float32", "bfloat16", "int8"}, optional
        Of VGG16's arithmetic; by default as each run was trained.

    Raises
    ------
    ArtefactError
        If a run is damaged, its VGG16 weights cannot be found with the recorded hash, or the runs have different
        classes.
    UsageError
        If the run has too few held-out photos for the confidence level, or they were answered otherwise than `mirror`
        says.
    """
    if confidence is not None:
        _refuse_confidence(runs, confidence, mirror=mirror)
    members = []
    for together in _sharing_a_base(runs, mirror=mirror):
        with ThreadPoolExecutor(1) as pool:
            heads = [pool.submit(load_head, run) for run in together]  # hashes their arrays
            card = load_card(together[0])
            if precision is not None:
                card = structs.replace(card, precision=precision)
            blocks = heads[0].result().blocks if card.finetuned else ()
            engine = _load_base(card, run=together[0], one_photo=one_photo, blocks=blocks, watcher=watcher or Watcher())
            members.append(_Member(tuple(_answering(head.result(), mirror=mirror) for head in heads), engine))
    classifier = Classifier(tuple(members), vote, one_photo)
    return classifier if confidence is None else _with_thresholds(classifier, confidence=confidence)


def at_confidence(classifier: Classifier, confidence: float, *, run: Path) -> Classifier:
    """The classifier of a single run, answering with prediction sets too; it shares what is loaded.

    Raises
    ------
    UsageError
        If the run has too few held-out photos for the confidence level.
    """
    _refuse_confidence([run], confidence, mirror=None)
    return _with_thresholds(classifier, confidence=confidence)


def _with_thresholds(classifier: Classifier, *, confidence: float) -> Classifier:
    (arrays,) = [head.calibration for member in classifier.members for head in member.runs if head.calibration]
    thresholds = conformal_thresholds(arrays.held_out, confidence=confidence)
    return replace(classifier, confidence=confidence, thresholds=thresholds)


def _sharing_a_base(runs: Sequence[Path], *, mirror: bool | None) -> Iterable[list[Path]]:
    """The runs in groups that go through one base. raises ArtefactError if their classes differ"""
    by_base: dict[tuple[object, ...], list[Path]] = {}
    first: tuple[str, ...] | None = None
    for run in runs:
        card = checked_card(run)
        first = first or card.classes
        if card.classes != first:
            raise ArtefactError(
                f"{run} has the classes {', '.join(card.classes)}, {runs[0]} has {', '.join(first)}: they cannot "
                "vote. Give runs with the same classes."
            )
        base = (
            *(card.weights_sha256, card.image_size, card.preprocessing, card.engine, card.precision),
            *(card.stored, mirror if mirror is not None else card.mirror),
            card.block_sha256,  # runs with fine-tuned blocks share nothing
        )
        by_base.setdefault(base, []).append(run)
    return by_base.values()


def _answering(head: SavedHead, *, mirror: bool | None) -> SavedHead:
    """The head, answering with or without the mirror image as asked, or as it was trained."""
    if mirror is None:
        return head
    return replace(head, card=structs.replace(head.card, mirror=mirror))


def _refuse_confidence(runs: Sequence[Path], confidence: float, *, mirror: bool | None) -> None:
    """Raise UsageError where a run cannot give prediction sets at this confidence."""
    if not 0 < confidence < 1:  # NaN too
        raise UsageError(f"--confidence {confidence:g}: expected a value between 0 and 1, exclusive.")
    if len(runs) > 1:
        raise UsageError(
            "--confidence: prediction sets need the held-out photos of a single run, but several runs vote."
        )
    card, needed = load_card(runs[0]), min_held_out(confidence)
    if mirror is not None and mirror != card.mirror:
        raise UsageError(
            f"{runs[0]}: --confidence needs answers made as those of the held-out photos. Omit "
            f"{'--mirror' if mirror else '--no-mirror'}."
        )
    if card.calibration is None:
        raise UsageError(
            f"{runs[0]}: --confidence needs held-out probabilities, which runs of older imgreg versions lack. Train "
            "it again."
        )
    label, n_photos = min(zip(card.classes, card.calibration.n_held_out, strict=True), key=lambda pair: pair[1])
    if n_photos < needed:
        highest = max_confidence(n_photos)
        lower = f"Use --confidence {highest:g} or less, or train" if highest else "Train"
        raise UsageError(
            f"{runs[0]}: --confidence {confidence:g} needs {needed} held-out photos per class, found {n_photos} of "
            f"class {label}. {lower} with more validation photos."
        )


def checked_card(run: Path) -> ModelCard:
    """A run's model.json. raises ArtefactError if it cannot be read, or its photos were decoded by other rules"""
    card = load_card(run)
    if card.decode_policy != decoding.POLICY:
        raise ArtefactError(
            f"{run}: its photos were decoded with policy {card.decode_policy}, this version of imgreg uses "
            f"{decoding.POLICY}. Train the run again, or use the version that trained it."
        )
    return card


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
    paths: Iterable[Path], member: _Member, read: Callable[[Iterable[Path], int], Iterator[UInt8Array | PhotoError]]
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


def prediction_document(answer: Prediction) -> dict[str, object]:
    """What predict --json prints of a photo."""
    if answer.error is not None:
        return {"path": store_address(answer.path), "error": answer.error}
    document: dict[str, object] = {
        "path": store_address(answer.path),
        "label": answer.label,
        "probability": answer.probability,
        "probabilities": answer.probabilities,
    }
    if answer.votes:
        document["votes"] = answer.votes
    if answer.prediction_set is not None:
        document |= {"prediction_set": answer.prediction_set, "abstained": answer.abstained}
    if answer.unlike_training is not None:
        document |= {name: getattr(answer, name) for name in NOVELTY}
    return document


NOVELTY = ("unlike_training", "training_distance", "training_distance_threshold")


@dataclass(frozen=True)
class _Given:
    """What a member gives for one photo.

    rows        (n_runs, n_classes) probabilities, each at its own run's temperature
    distance    to the train photos; None where there are several runs, or too few train photos are kept
    """

    rows: FloatArray
    distance: float | None


def _given(photos: Iterable[UInt8Array], member: _Member) -> Iterator[_Given]:
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


def _training_distance(stored: NDArray[np.float16], member: _Member) -> float | None:
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


def recorded_weights(card: ModelCard, *, run: Path) -> Weights:
    """The base's weights that a run was trained on. raises ArtefactError if the available ones differ"""
    from imgreg.features.weights import resolve_weights

    weights = resolve_weights(card.weights)
    if weights.sha256 != card.weights_sha256:
        raise ArtefactError(
            f"{run}: was trained with {card.weights} weights with SHA-256 {card.weights_sha256[:16]}..., but "
            f"{weights.path} has {weights.sha256[:16]}.... Find the original file, or train again."
        )
    return weights


def _load_base(
    card: ModelCard, *, run: Path, one_photo: bool, blocks: Sequence[Arrays] = (), watcher: Watcher
) -> Engine:
    precision = card.precision
    unsupported = {"bfloat16": lambda: not has_bfloat16(), "int8": lambda: not has_int8()}
    if card.engine == "openvino" and precision in unsupported and unsupported[precision]():
        precision = "float32"
        watcher.say(
            f"{run} was trained on {card.precision} features, but this processor does not support {card.precision}. "
            "Using float32: probabilities may differ slightly from those on the machine that trained it."
        )

    def find_weights() -> Weights:
        watcher.say("Preparing VGG16 for this machine (only once).")
        return recorded_weights(card, run=run)

    settings = EngineSettings(
        card.engine,
        precision,
        size_px=card.image_size,
        preprocessing=card.preprocessing_setting,
        one_photo=one_photo,
        blocks=tuple(blocks),
    )
    return load_engine(
        settings,
        weights_sha256=card.weights_sha256,
        find_weights=find_weights,
        cache=cache_folder(),
        on_picture=watcher.stage("measuring ranges for int8"),
    )
