"""imgreg report: everything that a run's folder shows, rebuilt from what it holds. No TensorFlow."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from imgreg.analysis.notable import notable_photos
from imgreg.config import CurveStyle
from imgreg.heads.store import load_card
from imgreg.heads.summary import summarize_plan
from imgreg.runs.folder import Run
from imgreg.training.thumbnails import MAP, keep_pictures, read_pictures


def write_run_report(folder: Path, run: Run, *, style: CurveStyle | None = None) -> tuple[str, ...]:
    """Write report.html and its figures into the folder of a run.

    Pictures that are not in the folder are made from the photos, if these have not changed.

    Returns
    -------
    tuple of str
        What was written, as paths below the folder.
    """
    from imgreg.reports.run import run_report

    card = load_card(folder)
    rows = [run.split[i] for i in notable_photos(run).rows]
    added = keep_pictures(folder, run, rows)
    maps = read_pictures(folder, (row.sha256 + MAP for row in rows))
    drawn = run_report(
        run,
        folder=folder,
        pictures=read_pictures(folder, (row.sha256 for row in rows)),
        maps={name.removesuffix(MAP): data for name, data in maps.items()},
        architecture=[asdict(row) for row in summarize_plan(card.plan, feature_shape=card.feature_shape)],
        style=style or CurveStyle(),
    )
    return (*added, *drawn)
