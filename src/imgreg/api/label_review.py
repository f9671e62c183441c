"""Decisions on the labels that imgreg label-issues found doubtful: what it wrote in, a corrected manifest out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from imgreg.analysis.label_issues import LabelRow
from imgreg.analysis.results import Findings
from imgreg.atomic_write import write_atomic
from imgreg.errors import ArtefactError, UsageError
from imgreg.paths import path_from
from imgreg.runs.files import read_json
from imgreg.runs.folder import rows_to_csv, write_json
from imgreg.training.new_folder import refuse_inside

Decision = Literal["keep", "flip", "drop"]
FIXES = "fixes.csv"
_DECISIONS = "decisions.json"


@dataclass(frozen=True)
class LabelReview:
    """A finished label check with the decisions so far.

    Attributes
    ----------
    rows : tuple of LabelRow
        All photos, the most doubtful first.
    paths, splits, hashes : tuple of str
        Of each row its path from the photo folder, its split (empty where none is given), and its SHA-256.
    data : Path
        The photo folder, as it was when the labels were checked.
    decisions : mapping
        By the photo's SHA-256.
    """

    folder: Path
    findings: Findings
    data: Path
    rows: tuple[LabelRow, ...]
    paths: tuple[str, ...]
    splits: tuple[str, ...]
    hashes: tuple[str, ...]
    decisions: Mapping[str, Decision]

    @property
    def doubtful(self) -> tuple[LabelRow, ...]:
        return tuple(row for row in self.rows if row.word != "agrees")


def read_label_review(folder: Path) -> LabelReview:
    """Read a folder that label-issues wrote. raises ArtefactError"""
    try:
        document = read_json(folder / "label_issues.json")
        photos = document["photos"]
        fields = set(LabelRow.model_fields) - {"photo"}
        decisions = read_json(folder / _DECISIONS) if (folder / _DECISIONS).is_file() else {}
        return LabelReview(
            folder=folder,
            findings=Findings(
                answer=tuple(map(str, document["answer"])),
                notes=tuple(map(str, document["notes"])),
                command=str(document["command"]),
            ),
            data=Path(read_json(folder / "environment.json")["data"]),
            rows=tuple(LabelRow(photo=i, **{key: one[key] for key in fields}) for i, one in enumerate(photos)),
            paths=tuple(str(one["path"]) for one in photos),
            splits=tuple(str(one["split"]) for one in photos),
            hashes=tuple(str(one["sha256"]) for one in photos),
            decisions={sha256: _decision(word) for sha256, word in decisions.items()},
        )
    except (ArtefactError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ArtefactError(
            f"{folder}: not readable as a label check ({error}). Run imgreg label-issues again."
        ) from error


def save_decisions(review: LabelReview, decisions: Mapping[str, str]) -> Path:
    """Write decisions, by the photos' SHA-256, and the dataset with them as fixes.csv, which `imgreg train` reads.

    Dropped photos are left out, relabelled ones get the class that was suggested. The photo folder is not touched.

    Raises
    ------
    UsageError
        For an unknown photo or decision, or if the label check is in the photo folder.
    OSError
        If the disk refuses.
    """
    if unknown := set(decisions) - set(review.hashes):
        raise UsageError(f"no photo {sorted(unknown)[0]} in {review.folder.name}.")
    decided = {sha256: _decision(word) for sha256, word in decisions.items()}
    refuse_inside(review.data, review.folder, option="--models")
    kept = []
    for row, path, split, sha256 in zip(review.rows, review.paths, review.splits, review.hashes, strict=True):
        if decided.get(sha256) != "drop":
            label = row.other if decided.get(sha256) == "flip" else row.label
            kept.append((path_from(review.folder, review.data / path), label, split))
    given = any(review.splits)
    header = ("path", "label", "split") if given else ("path", "label")
    text = rows_to_csv(header, (row if given else row[:2] for row in sorted(kept)))
    write_atomic(review.folder / FIXES, text.encode("utf-8", "surrogateescape"))
    write_json(review.folder / _DECISIONS, decided)
    return review.folder / FIXES


def _decision(word: Any) -> Decision:
    if word not in get_args(Decision):
        raise UsageError(f"decision {word!r}: expected one of {', '.join(get_args(Decision))}.")
    decision: Decision = word
    return decision
