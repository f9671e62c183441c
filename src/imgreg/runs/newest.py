"""Which run predict answers by when none is named. Reads one value of each run: predict need not wait for more."""

from __future__ import annotations

import json
from pathlib import Path

from imgreg.errors import ArtefactError, UsageError
from imgreg.runs.files import read_regular


def newest_run(models: Path) -> Path:
    """Folder of the newest run that says when it was made. raises UsageError if there is none."""
    made = {created: folder for folder in models.glob("[!.]*") if (created := _created(folder)) is not None}
    if not made:
        raise UsageError(
            f"no run found under {models}. Train one first: imgreg train data/ (or choose one with --run)."
        )
    return made[max(made)]


def _created(folder: Path) -> tuple[str, str] | None:
    """(time, name), which orders runs by age; None where there is no run."""
    try:
        created = json.loads(read_regular(folder / "metrics.json").decode("utf-8", "surrogateescape"))["created"]
    except (ArtefactError, OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return (created, folder.name) if isinstance(created, str) and (folder / "model.json").is_file() else None
