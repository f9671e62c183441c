"""What learning-curve and label-issues found of the same photos before, read from their folders under models/."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from imgreg.errors import ArtefactError
from imgreg.runs.files import read_regular

T = TypeVar("T", "_LearningCurveFile", "_LabelIssuesFile")


class Gain(msgspec.Struct, frozen=True):
    """What more train photos would change, from learning_curve.json.

    Attributes
    ----------
    n_train : int
        Number of train photos that the gain is for.
    gain, gain_low, gain_high : float
        Fall of the test error in 0..1 and its 95 % interval.
    """

    n_train: int
    gain: float
    gain_low: float
    gain_high: float


@dataclass(frozen=True)
class EarlierFindings:
    """The newest results for a dataset; None where the command was not run on it.

    Attributes
    ----------
    gain : Gain or None
        By learning-curve.
    n_contradicted : int or None
        Number of photos whose label heads that never saw them contradict, by label-issues.
    """

    gain: Gain | None = None
    n_contradicted: int | None = None


class _Curve(msgspec.Struct):
    more: Gain


class _LearningCurveFile(msgspec.Struct):
    dataset: str
    test_error: _Curve


class _LabelIssuesFile(msgspec.Struct):
    dataset: str
    n_contradicted: int


def earlier_findings(models: Path, *, dataset: str) -> EarlierFindings:
    """Find the newest learning curve and label check of the same photos and labels; unreadable files are passed over.

    Parameters
    ----------
    dataset : str
        `PhotoIndex.digest`.
    """
    curve = _newest(models, "learning_curve.json", _LearningCurveFile, dataset=dataset)
    labels = _newest(models, "label_issues.json", _LabelIssuesFile, dataset=dataset)
    return EarlierFindings(
        gain=None if curve is None else curve.test_error.more,
        n_contradicted=None if labels is None else labels.n_contradicted,
    )


def _newest(models: Path, name: str, kind: type[T], *, dataset: str) -> T | None:
    found = {path.stat().st_mtime: one for path, one in _read(models, name, kind) if one.dataset == dataset}
    return found[max(found)] if found else None


def _read(models: Path, name: str, kind: type[T]) -> Iterator[tuple[Path, T]]:
    for path in models.glob(f"[!.]*/{name}"):
        try:
            yield path, msgspec.json.decode(read_regular(path), type=kind)
        except (ArtefactError, OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
