"""imgreg evaluate: a run, or several that vote, scored on labelled photos. No TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from imgreg.analysis.metrics import Metrics, measure
from imgreg.api.classifier import Classifier, Vote
from imgreg.api.predict import predict
from imgreg.config import Photos
from imgreg.data.index import Photo, index_photos
from imgreg.data.store_copy import local_copy
from imgreg.data.stores import as_typed
from imgreg.errors import DatasetError, MachineError
from imgreg.heads.store import load_card
from imgreg.paths import store_address
from imgreg.progress import Watcher
from imgreg.runs.evaluations import optimism, write_evaluation
from imgreg.runs.folder import read_run

_SEEN: tuple[Literal["train", "val"], ...] = ("train", "val")


@dataclass(frozen=True)
class Evaluation:
    """Scores on labelled photos.

    Attributes
    ----------
    notes : tuple of str
        What a reader must know, first of all which photos were trained on.
    n_runs_scored : int
        Number of different runs that exactly these photos have scored, this one included; 0 for photos that it has
        seen, which is not recorded.
    """

    runs: tuple[Path, ...]
    vote: Vote | None
    data: Path
    metrics: Metrics
    notes: tuple[str, ...]
    n_runs_scored: int = 0


def evaluate(
    classifier: Classifier,
    data: Path,
    *,
    split: str | None = None,
    reason: str = "",
    command: str = "",
    watcher: Watcher | None = None,
) -> Evaluation:
    """Score one or several runs on the photos of a folder, and record that in evaluations.jsonl beside the first run.

    Parameters
    ----------
    split : str, optional
        Only its photos of train, val or test; by default all.
    reason, command : str
        For the record: what the scores are for, and the command line.

    Raises
    ------
    DatasetError
        If the photos' classes are not the run's, or a class has no photo.
    """
    watcher, runs = watcher or Watcher(), classifier.runs
    photos = _photos(data, split=split, classes=classifier.classes, watcher=watcher)
    notes = _seen(runs, photos)
    rows, said = [], []
    for done, answer in enumerate(predict([photo.path for photo in photos], classifier=classifier), start=1):
        if answer.error is not None or answer.probabilities is None:
            raise DatasetError(f"{answer.path}: {answer.error}. The file changed during the command: run it again.")
        rows.append([answer.probabilities[label] for label in classifier.classes])
        said.append(classifier.classes.index(answer.label or ""))
        watcher.step("predicting", done, len(photos), "")
    labels = [classifier.classes.index(photo.label) for photo in photos]
    metrics = measure(labels, np.array(rows), classes=classifier.classes, answers=said)
    vote = classifier.vote if len(runs) > 1 else None
    n_runs_scored = 0
    if not notes:
        n_runs_scored = _record(runs, photos, vote=vote, reason=reason, command=command, say=watcher.say)
        notes = tuple(filter(None, [optimism(len(photos), n_runs_scored)]))
    return Evaluation(runs, vote, data, metrics, notes, n_runs_scored)


def _photos(data: Path, *, split: str | None, classes: Sequence[str], watcher: Watcher) -> list[Photo]:
    """The photos of a split. raises DatasetError if their classes are not exactly the run's"""
    index = index_photos(local_copy(data, watcher=watcher), max_bad=1.0, on_file=watcher.stage("reading photos"))
    n_bad, n_files = len(index.skipped), len(index.photos) + len(index.skipped)
    if n_bad > Photos().max_bad * n_files:
        raise DatasetError(
            f"{as_typed(data)}: {n_bad} of {n_files} files cannot be read, expected at most {Photos().max_bad:.0%}. "
            f"Remove or repair them; `imgreg check {as_typed(data)}` lists them."
        )
    photos = [photo for photo in index.photos if split is None or photo.split == split]
    if not photos:
        raise DatasetError(f"{as_typed(data)}: no photos in split {split!r}. Found: {_splits(index.photos)}.")
    unknown = sorted({photo.label for photo in photos} - set(classes))
    if unknown or (missing := sorted(set(classes) - {photo.label for photo in photos})):
        found = f"class {unknown[0]!r}, unknown to the run" if unknown else f"no photo of class {missing[0]!r}"
        raise DatasetError(f"{as_typed(data)}: found {found}. Expected photos of each class: {', '.join(classes)}.")
    for bad in index.skipped:
        watcher.say(f"skipped {store_address(bad.path)}: {bad.reason}")
    return photos


def evaluation_document(done: Evaluation) -> dict[str, object]:
    """What evaluate --json prints."""
    return {
        "runs": [str(run) for run in done.runs],
        "vote": done.vote,
        "data": as_typed(done.data),
        "notes": list(done.notes),
        "n_runs_scored": done.n_runs_scored,
        **done.metrics.model_dump(mode="json"),
    }


def _record(
    runs: Sequence[Path],
    photos: Sequence[Photo],
    *,
    vote: str | None,
    reason: str,
    command: str,
    say: Callable[[str], None],
) -> int:
    """Write the scoring down. A folder that cannot be written does not cost the scores."""
    try:
        return write_evaluation(
            runs[0].parent,
            photos=[photo.sha256 for photo in photos],
            runs=[run.name for run in runs],
            heads=[*(load_card(run).head_sha256 for run in runs), *filter(None, [vote])],
            command=command,
            reason=reason,
        )
    except MachineError as error:
        say(f"{error} This evaluation is not recorded.")
        return 1


def _seen(runs: Sequence[Path], photos: Sequence[Photo]) -> tuple[str, ...]:
    """A line for each run that trained on or was validated on some of the photos (by their bytes)."""
    lines = []
    for run in runs:
        read = read_run(run)
        trained, chosen = ({row.sha256 for row in read.split if row.on(split)} for split in _SEEN)
        honest = " In its report each photo is scored by the head that never saw it." if read.summary.n_folds else ""
        for seen, what in ((trained, "was trained on"), (chosen - trained, "was validated on")):
            n = sum(photo.sha256 in seen for photo in photos)
            if n:
                lines.append(
                    f"{run} {what} {n} of these {len(photos)} photos: scores on them are too optimistic.{honest}"
                )
    return tuple(lines)


def _splits(photos: Sequence[Photo]) -> str:
    return ", ".join(sorted({photo.split or "no split" for photo in photos}))
