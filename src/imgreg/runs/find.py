"""Which run is meant: a name under models/, a path, `last`, or none, which is the newest.

Reads one value of each run, as plain JSON: predict need not wait for more.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from imgreg.errors import ArtefactError, UsageError
from imgreg.runs.files import read_json

LAST = "last"
DOCUMENTS = {
    "comparison.json": "comparison",
    "study.json": "study",
    "learning_curve.json": "learning curve",
    "label_issues.json": "label issues",
    "lr_find.json": "learning rates",
    "tune.json": "tuning",
}  # what other folders under models/ hold


def newest_run(models: Path) -> Path:
    """Folder of the newest run that says when it was made. raises UsageError if there is none."""
    made = {created: folder for folder in models.glob("[!.]*") if (created := _created(folder)) is not None}
    if not made:
        raise UsageError(
            f"no run found under {models}. Train one first: imgreg train data/ (or choose one with --run)."
        )
    return made[max(made)]


def find_run(named: Path, *, models: Path) -> Path:
    """The folder of a run.

    Parameters
    ----------
    named : Path
        A name under `models`, a path, or `last`, the newest under `models` (unless a run has that name).

    Raises
    ------
    UsageError
        If there is no such folder, or it is that of a comparison or another thing that is no run.
    """
    folder = find_folder(named, models=models)
    kind = next((kind for name, kind in DOCUMENTS.items() if (folder / name).is_file()), None)
    if kind is None or (folder / "model.json").is_file():
        return folder
    if kind != "comparison":
        raise UsageError(f"{folder} holds a {kind}, which keeps no heads. `imgreg runs` lists the runs.")
    try:
        names = [str(run["name"]) for run in read_json(folder / "comparison.json")["runs"]]
    except (ArtefactError, OSError, ValueError, LookupError, TypeError, RecursionError):
        names = []
    runs = [name if folder.parent == models else str(folder.parent / name) for name in names]
    listed = ", ".join(runs) or "`imgreg runs` lists them"
    raise UsageError(f"{folder} is a comparison. Choose one of its runs: {listed}.")


def find_folder(named: Path, *, models: Path) -> Path:
    """The folder of a run, a comparison and so on, named as in find_run. raises UsageError if there is none"""
    places = (models / named, named) if len(named.parts) == 1 else (named, models / named)
    for folder in places:
        if folder.is_dir():
            return folder
    if str(named) == LAST:
        return newest_run(models)
    names = [folder.name for folder in models.glob("[!.]*") if folder.is_dir()]
    near = difflib.get_close_matches(named.name, names, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise UsageError(
        f"no run {str(named)!r}: found neither {places[0]} nor {places[1]}. {hint}`imgreg runs` lists the runs."
    )


def _created(folder: Path) -> tuple[str, str] | None:
    """(time, name), which orders runs by age; None where there is no run."""
    try:
        created = read_json(folder / "metrics.json")["created"]
    except (ArtefactError, OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return (created, folder.name) if isinstance(created, str) and (folder / "model.json").is_file() else None
