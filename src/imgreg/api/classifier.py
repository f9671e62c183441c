"""Runs as one classifier, ready to predict: their heads, and the bases that they share in an engine. No TensorFlow.

In: run folders. Out: a Classifier, whose parts are what the runs were trained with.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from imgreg.analysis.conformal import conformal_thresholds, max_confidence, min_held_out
from imgreg.analysis.novelty import unit_rows
from imgreg.data import decode as decoding
from imgreg.errors import ArtefactError, UsageError
from imgreg.features.blocks import Arrays
from imgreg.features.engines import Engine, EngineSettings, Precision, load_engine
from imgreg.features.processor import has_bfloat16, has_int8
from imgreg.heads.store import ModelCard, SavedHead, load_card, load_head
from imgreg.paths import cache_folder
from imgreg.progress import Watcher

if TYPE_CHECKING:
    from imgreg.features.weights import Weights

Vote = Literal["mean", "majority"]


@dataclass(frozen=True)
class Member:
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
    runs : tuple of Path
        Their folders.
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

    runs: tuple[Path, ...]
    members: tuple[Member, ...]
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
    vote: Vote | None = None,
    one_photo: bool = False,
    confidence: float | None = None,
    mirror: bool | None = None,
    precision: Precision | None = None,
    watcher: Watcher | None = None,
) -> Classifier:
    """Load run folders; their preprocessing, weights and image sizes are enforced. Runs on the same base share it.

    Parameters
    ----------
    vote : mean or majority, optional
        How several runs are combined; by default mean.
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
            members.append(Member(tuple(_answering(head.result(), mirror=mirror) for head in heads), engine))
    classifier = Classifier(tuple(runs), tuple(members), vote or "mean", one_photo)
    return classifier if confidence is None else _with_thresholds(classifier, confidence=confidence)


def at_confidence(classifier: Classifier, confidence: float) -> Classifier:
    """The classifier of a single run, answering with prediction sets too; it shares what is loaded.

    Raises
    ------
    UsageError
        If the run has too few held-out photos for the confidence level.
    """
    _refuse_confidence(classifier.runs, confidence, mirror=None)
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
