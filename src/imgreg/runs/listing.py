"""Everything that commands have made in a models folder: runs, comparisons, studies, learning curves and the like.

Plain files in, small values out; what cannot be read is named, not passed over.
"""

from __future__ import annotations

import csv
import datetime
import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgreg.errors import ArtefactError
from imgreg.runs.files import read_json, read_text
from imgreg.runs.find import DOCUMENTS
from imgreg.runs.folder import list_runs
from imgreg.runs.history import epochs_of_csv
from imgreg.runs.summary import RunSummary

_UNREADABLE = (ArtefactError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, csv.Error)


@dataclass(frozen=True)
class Entry:
    """One folder in models/.

    Attributes
    ----------
    kind : str
        "run", or one of DOCUMENTS.
    created : str
        ISO 8601, UTC: of a run as recorded, of the others the time at which their document was written.
    dataset : str
        Name of the folder or file of the photos; empty where it is not recorded.
    recipe : str
        A run's recipe with what was changed in it; of the others the recipes that they compare.
    answer : str
        A run's verdict in a sentence, the first sentence of the others' answer.
    val_losses : tuple of float
        A run's validation loss at each epoch.
    summary : RunSummary, optional
        A run's document.
    """

    kind: str
    name: str
    folder: Path
    created: str
    dataset: str
    recipe: str
    answer: str
    val_losses: tuple[float, ...] = ()
    summary: RunSummary | None = None

    def document(self) -> dict[str, Any]:
        """What `imgreg runs --json` prints of it; of a run also its own document."""
        document = {name: getattr(self, name) for name in ("kind", "name", "created", "dataset", "recipe", "answer")}
        if self.summary is None:
            return document | {"folder": str(self.folder)}
        return document | self.summary.model_dump(mode="json") | {"val_losses": list(self.val_losses)}


def _best(figure: str) -> Callable[[Entry], float]:
    return lambda entry: math.inf if entry.summary is None else getattr(entry.summary.kept, figure)


SORTS: dict[str, Callable[[Entry], Any]] = {
    "created": lambda entry: entry.created,
    "name": lambda entry: entry.name,
    "kind": lambda entry: entry.kind,
    "dataset": lambda entry: entry.dataset,
    "loss": _best("val_loss"),
    "accuracy": lambda entry: math.inf if entry.summary is None else -entry.summary.kept.val_accuracy,
    "gap": lambda entry: math.inf if entry.summary is None else entry.summary.last.gap,
}


def list_entries(models: Path, *, sort: str = "created") -> tuple[tuple[Entry, ...], tuple[Path, ...]]:
    """Everything in `models`, and the folders that cannot be read.

    Parameters
    ----------
    sort : str, optional
        A key of SORTS: the oldest, the lowest loss or gap, the highest accuracy first; what has no figures is last.
    """
    summaries, unread = list_runs(models)
    found, damaged = [], list(unread)
    for summary in summaries:
        folder = Path(summary.run)
        try:
            found.append(_run(folder, summary))
        except _UNREADABLE:
            damaged.append(folder)
    for folder in sorted(models.iterdir()) if models.is_dir() else ():
        kind = next((name for name in DOCUMENTS if not folder.name.startswith(".") and (folder / name).is_file()), None)
        if kind is None or (folder / "model.json").is_file():
            continue
        try:
            found.append(_of_document(folder, kind))
        except _UNREADABLE:
            damaged.append(folder)
    return tuple(sorted(found, key=lambda entry: (SORTS[sort](entry), entry.created, entry.name))), tuple(damaged)


def _run(folder: Path, summary: RunSummary) -> Entry:
    epochs = epochs_of_csv(read_text(folder / "history.csv").splitlines())
    return Entry(
        kind="run",
        name=summary.name,
        folder=folder,
        created=summary.created,
        dataset=Path(read_json(folder / "environment.json")["data"]).name,
        recipe=summary.recipe_label,
        answer=summary.verdict.sentence,
        val_losses=tuple(epoch.val_loss for epoch in epochs),
        summary=summary,
    )


def _of_document(folder: Path, name: str) -> Entry:
    document = read_json(folder / name)
    if name == "comparison.json":
        recipes = [run["recipe"] for run in document["runs"]]
        command, answers = document["runs"][0]["command"], [document["against_baselines"]]
    else:
        recipes = [row["recipe"] for row in document["table"]["rows"]] if name == "study.json" else []
        command, answers = document.get("command", ""), document["answer"]
    written = datetime.datetime.fromtimestamp((folder / name).stat().st_mtime, datetime.UTC)
    return Entry(
        kind=DOCUMENTS[name],
        name=folder.name,
        folder=folder,
        created=written.isoformat(timespec="milliseconds"),
        dataset=_dataset(command),
        recipe=", ".join(map(str, recipes)),
        answer=str(next(iter(answers), "")),
    )


def _dataset(command: str) -> str:
    """The photos' name, where a recorded command names them first.

    >>> _dataset("imgreg study ~/photos/pets --repeats 3"), _dataset("imgreg study --repeats 3 pets"), _dataset("")
    ('pets', '', '')
    """
    words: Sequence[str] = shlex.split(command)
    return "" if len(words) < 3 or words[2].startswith("-") else Path(words[2]).name
