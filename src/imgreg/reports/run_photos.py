"""The photos that a run's report shows: the worst mistakes, the least certain answers, and what was memorized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from imgreg.analysis.notable import Notable
from imgreg.analysis.performance import Scored
from imgreg.reports.page import jpeg_address
from imgreg.runs.folder import Run


@dataclass(frozen=True)
class ShownPhoto:
    """One photo of a report. `picture` and `map` are data addresses; empty where there is none."""

    place: str  # its id in the page
    cell: str  # of the confusion matrix, row-column; empty for a train photo
    path: str
    label: str
    answer: str
    own: float  # probability of its own class
    of_answer: float
    picture: str
    map: str = ""
    course: str = ""  # points of a polyline in a box of 100 x 30: the own class's probability by epoch
    best: float = 0.0  # the best epoch's x in the box


def shown_photos(
    run: Run, found: Notable, scored: Scored, *, pictures: Mapping[str, bytes], maps: Mapping[str, bytes]
) -> dict[str, Any]:
    """The notable photos as the report shows them: a list of ShownPhoto for each kind, by the name that the page uses.

    Parameters
    ----------
    pictures, maps : mapping
        JPEG by the photo's sha256, of those that are available, without and with Grad-CAM over them.
    """
    mistakes, uncertain = (
        [
            _scored(run, row, scored, place=f"{kind}-{i}", pictures=pictures, maps=maps)
            for i, row in enumerate(rows, start=1)
        ]
        for kind, rows in (("mistake", found.mistakes), ("uncertain", found.uncertain))
    )
    memorized = [
        _memorized(run, row, place=f"memorized-{i}", pictures=pictures)
        for i, row in enumerate(found.memorized, start=1)
    ]
    return {"mistakes": mistakes, "uncertain": uncertain, "memorized": memorized}


def _scored(
    run: Run, row: int, scored: Scored, *, place: str, pictures: Mapping[str, bytes], maps: Mapping[str, bytes]
) -> ShownPhoto:
    i = scored.rows.index(row)
    p, photo = scored.probabilities[i], run.split[row]
    answer, label = int(p.argmax()), int(scored.labels[i])
    return ShownPhoto(
        place=place,
        cell=f"{label}-{answer}",
        path=photo.path,
        label=photo.label,
        answer=run.summary.classes[answer],
        own=float(p[label]),
        of_answer=float(p[answer]),
        picture=_address(pictures, photo.sha256),
        map=_address(maps, photo.sha256),
    )


def _memorized(run: Run, row: int, *, place: str, pictures: Mapping[str, bytes]) -> ShownPhoto:
    own = run.history.train_true_class
    assert own is not None  # most_memorized names none otherwise
    train = [i for i, photo in enumerate(run.split) if photo.on("train")]
    course, photo = own[:, train.index(row)], run.split[row]
    x = np.linspace(0, 100, len(course)) if len(course) > 1 else np.array([50.0])
    return ShownPhoto(
        place=place,
        cell="",
        path=photo.path,
        label=photo.label,
        answer=photo.label,
        own=float(course[run.summary.best_epoch - 1]),
        of_answer=float(course[-1]),
        picture=_address(pictures, photo.sha256),
        course=" ".join(f"{a:.1f},{30 - 28 * b - 1:.1f}" for a, b in zip(x, course, strict=True)),
        best=float(x[run.summary.best_epoch - 1]),
    )


def _address(pictures: Mapping[str, bytes], name: str) -> str:
    return jpeg_address(pictures[name]) if name in pictures else ""
