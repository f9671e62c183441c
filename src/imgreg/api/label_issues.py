"""imgreg label-issues: which photos are likely mislabelled, by heads that never saw them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imgreg.analysis.label_issues import LabelTable, label_issues_answer, rank_labels
from imgreg.analysis.results import Findings
from imgreg.config import Settings
from imgreg.data import decode as decoding
from imgreg.data.index import Photo, PhotoIndex, labels_of
from imgreg.data.resample import Repeat
from imgreg.errors import UsageError
from imgreg.features.extract import read_photo
from imgreg.paths import shared_command, shared_path, shared_text
from imgreg.reports.pictures import jpeg
from imgreg.runs.folder import rows_to_csv, write_json, write_text
from imgreg.runs.trial import Trial
from imgreg.session import Session
from imgreg.training.new_folder import new_folder
from imgreg.training.resampling import resample_dataset
from imgreg.training.trials import run_trials
from imgreg.training.workers import open_workers

SHOWN = 48  # photos on the contact sheet, and to review
PICTURES = "pictures"
_SHEET_PX = 176
_CARD_PX = 400  # longest side of a photo in the report


@dataclass(frozen=True)
class LabelIssues:
    """A finished check; `photo` in the table indexes paths. `folder` holds report.html, label_issues.csv and .json,
    sheet.png, the photos to review in pictures/, and environment.json, which names the photo folder."""

    folder: Path
    table: LabelTable
    paths: tuple[Path, ...]
    answer: tuple[str, ...]
    notes: tuple[str, ...]


def find_label_issues(data: Path, *, settings: Settings, repeats: int, folds: int, session: Session) -> LabelIssues:
    """Train heads in folds, so that each photo is scored by heads that never saw it, and rank the photos.

    The photos and their folders are not changed.

    Parameters
    ----------
    folds : int
        2 or more: each repeat scores every photo once, by a head trained on the other folds.
    session : Session
        With `resume` False, trials in the cache are trained again.

    Raises
    ------
    UsageError
        For fewer than 2 folds.
    DatasetError
        If the photos cannot be used as a dataset, or a class is too small.
    DivergedError
        If a loss became NaN or infinite.
    """
    if folds < 2:
        raise UsageError(f"--folds {folds}: expected 2 or more, so that every photo is scored.")
    with new_folder(session, data=data, kind="label-issues") as (folder, target), open_workers(session) as working:
        resampled = resample_dataset(data, settings, repeats=repeats, folds=folds, session=working)
        grid = run_trials(resampled, settings=[settings], session=working)
        table = label_table(resampled.index, resampled.repeats, grid.trials[settings.recipe.name])
        done = LabelIssues(
            folder=target,
            table=table,
            paths=tuple(photo.path for photo in resampled.index.photos),
            answer=label_issues_answer(table),
            notes=resampled.notes,
        )
        write_label_issues(folder, done, index=resampled.index, command=session.command)
    return done


def label_table(index: PhotoIndex, repeats: Sequence[Repeat], trials: Sequence[Trial]) -> LabelTable:
    """Combine each photo's scores from the trials that tested it, and from those that trained on it.

    Parameters
    ----------
    repeats : sequence of Repeat
        The splits; together they test every photo.
    trials : sequence of Trial
        One for each.
    """
    photos, classes = index.photos, index.classes
    row_of = {photo: row for row, photo in enumerate(photos)}
    summed = np.zeros((len(photos), len(classes)))
    n_tested, n_trained, own, forgotten = np.zeros((4, len(photos)))
    for repeat, trial in zip(repeats, trials, strict=True):
        tested = [row_of[photo] for photo in repeat.split.test]
        trained = [row_of[photo] for photo in repeat.split.train]
        summed[tested] += trial.test_probabilities
        n_tested[tested] += 1
        own[trained] += trial.train_own_last
        forgotten[trained] += trial.train_forgotten
        n_trained[trained] += 1
    times = np.maximum(n_trained, 1)  # a photo that every repeat tested or validated on trained no head
    return rank_labels(
        summed / n_tested[:, None],
        labels_of(photos, classes),
        own_when_trained=np.where(n_trained > 0, own / times, np.nan),
        forgotten=forgotten / times,
        classes=classes,
    )


def label_issues_document(done: LabelIssues) -> dict[str, object]:
    """What label-issues --json prints: every photo, the most doubtful first."""
    return {
        "label_issues": str(done.folder),
        "answer": list(done.answer),
        "notes": list(done.notes),
        "n_contradicted": done.table.n_contradicted,
        "photos": [
            {"path": str(done.paths[row.photo]), **row.model_dump(mode="json", exclude={"photo"})}
            for row in done.table.rows
        ],
    }


_COLUMNS = ("label", "other", "own", "others", "word", "history", "own_when_trained", "memorization", "forgotten")


def write_label_issues(folder: Path, done: LabelIssues, *, index: PhotoIndex, command: str) -> None:
    """Fill the folder: tables, the photos to review at reduced size, sheet and report. raises OSError"""
    from imgreg.reports.contact_sheet import photo_grid
    from imgreg.reports.label_issues import label_issues_report

    photos = index.photos
    rows = [
        (rank, index.relative(photos[row.photo]), *(_figure(getattr(row, name)) for name in _COLUMNS))
        for rank, row in enumerate(done.table.rows, start=1)
    ]
    write_text(folder / "label_issues.csv", rows_to_csv(("rank", "path", *_COLUMNS), rows))
    document = label_issues_document(done)
    document["photos"] = [
        {
            **row.model_dump(mode="json", exclude={"photo"}),
            "path": index.relative(photos[row.photo]),
            "split": photos[row.photo].split or "",
            "sha256": photos[row.photo].sha256,
        }
        for row in done.table.rows
    ]
    shared: dict[str, Any] = {
        "label_issues": done.folder.name,
        "dataset": index.digest,
        "notes": [shared_text(line, index.root) for line in done.notes],
        "command": shared_command(command),
    }
    write_json(folder / "label_issues.json", document | shared)
    shown = [
        (
            (
                f"{rank}. {row.label} ({row.other}?)",
                f"{row.own:.2f}, {row.history}",
                photos[row.photo].path.name,
            ),
            read_photo(photos[row.photo], size_px=_SHEET_PX),
        )
        for rank, row in enumerate(done.table.rows[:SHOWN], start=1)
    ]
    photo_grid(shown, target=folder / "sheet.png")
    doubtful = [row for row in done.table.rows if row.word != "agrees"]
    to_review = (doubtful or done.table.rows)[:SHOWN]
    root = index.root if index.root.is_dir() else index.root.parent
    write_json(folder / "environment.json", {"data": str(root.resolve())})
    pictures = {row.photo: _picture(photos[row.photo]) for row in to_review}
    (folder / PICTURES).mkdir()
    for photo, data in pictures.items():
        (folder / PICTURES / f"{photos[photo].sha256}.jpg").write_bytes(data)
    label_issues_report(
        to_review,
        manifest=[(index.relative(photo), photo.label, photo.split or "") for photo in photos],
        pictures=pictures,
        findings=Findings(done.answer, shared["notes"], shared["command"]),
        data=shared_path(root),
        target=folder / "report.html",
    )


def _picture(photo: Photo) -> bytes:
    return jpeg(decoding.picture(decoding.read_bytes(photo.path), longest_px=_CARD_PX))


def _figure(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value
