"""What predict says of one photo, as a value and as a JSON document."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imgreg.paths import store_address

NOVELTY = ("unlike_training", "training_distance", "training_distance_threshold")


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
