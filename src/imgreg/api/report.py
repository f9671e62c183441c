"""imgreg report: the report of a run, a comparison, a study or a search, rebuilt from its folder. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from imgreg.analysis.baselines import StudyBaseline
from imgreg.analysis.lr_find import TriedRates
from imgreg.analysis.results import Study, comparison_of
from imgreg.analysis.study import StudyTable
from imgreg.config import CurveStyle
from imgreg.errors import ArtefactError
from imgreg.paths import found_path
from imgreg.runs.checksums import renew_sums
from imgreg.runs.files import read_json
from imgreg.runs.folder import read_run
from imgreg.runs.summary import SanityBaseline
from imgreg.runs.trial import Trial


def rebuild_report(folder: Path, *, style: CurveStyle | None = None) -> Path:
    """Write report.html and its figures again, in place; everything else in the folder stays as it is.

    Parameters
    ----------
    style : CurveStyle, optional
        How the curves are drawn; by default as measured, and a study's as it was made.

    Returns
    -------
    Path
        The report.

    Raises
    ------
    ArtefactError
        If the folder is none of these, or is damaged.
    """
    if (folder / "model.json").is_file():
        from imgreg.training.run_report import write_run_report

        renew_sums(folder, write_run_report(folder, read_run(folder), style=style))
    elif (folder / "comparison.json").is_file():
        from imgreg.api.compare import write_comparison_report

        runs = [read_run(run) for run in _runs_of(folder)]
        write_comparison_report(folder, runs, comparison_of(runs, folder=folder), style=style)
    elif (folder / "study.json").is_file():
        _rebuild_study(folder, style=style)
    elif (folder / "tune.json").is_file():
        _rebuild_tune(folder)
    else:
        raise ArtefactError(
            f"{folder}: found no model.json, comparison.json, study.json or tune.json. Expected the folder of a run, a "
            "comparison, a study or a search, e.g. models/first-try; `imgreg runs` lists the runs."
        )
    return folder / "report.html"


def _runs_of(folder: Path) -> list[Path]:
    """The folders of a comparison's runs: beside it, where both were moved together, or where they were."""
    document = _document(folder / "comparison.json")
    try:
        named = [found_path(run["run"]) for run in document["runs"]]
    except (AttributeError, KeyError, TypeError) as error:
        raise ArtefactError(
            f"{folder}/comparison.json lists no runs. The comparison is damaged: run it again."
        ) from error
    beside = [folder.parent / run.name for run in named]
    return [one if one.is_dir() else folder.parent / run for one, run in zip(beside, named, strict=True)]


def _rebuild_study(folder: Path, *, style: CurveStyle | None) -> None:
    from imgreg.reports.study import study_report

    study, kept = _document(folder / "study.json"), _document(folder / "trials.json")
    with _readable(folder, "study"):
        trials = {name: [Trial.model_validate(trial) for trial in row] for name, row in kept.items()}
        done = Study(
            folder=folder,
            table=StudyTable.model_validate(study["table"]),
            trials=trials,
            groups=study["groups"],
            answer=study["answer"],
            notes=study["notes"],
            sanity_baselines=tuple(SanityBaseline.model_validate(one) for one in study["sanity_baselines"]),
            baselines=tuple(StudyBaseline.model_validate(one) for one in study["baselines"]),
            rates=None if (rates := study.get("learning_rates")) is None else TriedRates.model_validate(rates),
            command=study["command"],
        )
        study_report(done, folder=folder, style=style or CurveStyle.model_validate(study["curves"]))


def _rebuild_tune(folder: Path) -> None:
    from imgreg.api.tune import draw_tune

    document = _document(folder / "tune.json")
    with _readable(folder, "search"):
        draw_tune(folder, document)


@contextmanager
def _readable(folder: Path, kind: str) -> Iterator[None]:
    """What a damaged document leads to, as an ArtefactError."""
    try:
        yield
    except (ValidationError, KeyError, TypeError, AttributeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ArtefactError(f"{folder}: not a readable {kind} ({first}). It is damaged: run it again.") from error


def _document(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise ArtefactError(f"{path}: cannot be read ({error}). It is damaged: run it again.") from error
