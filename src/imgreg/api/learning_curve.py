"""imgreg learning-curve: the score against the number of train photos, and what more of them would bring."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from imgreg.analysis.learning_curve import LearningCurve, learning_curve, learning_curve_answer
from imgreg.analysis.results import Findings
from imgreg.config import Settings
from imgreg.data.resample import Repeat
from imgreg.data.subsets import LEAST, subset_sizes, with_fewer
from imgreg.errors import DatasetError, UsageError
from imgreg.paths import shared_command, shared_text
from imgreg.runs.folder import rows_to_csv, write_json, write_text
from imgreg.session import Session
from imgreg.training.new_folder import new_folder
from imgreg.training.resampling import resample_dataset
from imgreg.training.trials import run_trials
from imgreg.training.workers import open_workers

STEPS = 6  # sizes at most, each half the next


@dataclass(frozen=True)
class LearningCurveResult:
    """A finished learning curve. `folder` holds report.html, curve.png, learning_curve.json and table.csv."""

    folder: Path
    error: LearningCurve  # share of photos answered wrong
    loss: LearningCurve
    answer: tuple[str, ...]
    notes: tuple[str, ...]
    n_trained: int
    n_kept: int


def find_learning_curve(
    data: Path, *, settings: Settings, repeats: int, more: int, session: Session
) -> LearningCurveResult:
    """Train on nested subsets of the train photos, score on the same test photos, and fit a power law.

    Parameters
    ----------
    repeats : int
        Number of random splits, each with all sizes.
    more : int
        Number of additional train photos to extrapolate to.
    session : Session
        With `resume` False, trials in the cache are trained again.

    Raises
    ------
    DatasetError
        If the photos cannot be used as a dataset, or a class is too small for three sizes.
    UsageError
        If `more` is over 100 times the number of train photos.
    DivergedError
        If a loss became NaN or infinite.
    """
    with new_folder(session, data=data, kind="learning-curve") as (folder, target), open_workers(session) as working:
        resampled = resample_dataset(data, settings, repeats=repeats, session=working)
        sizes = _sizes(data, resampled.repeats, more=more)
        subsets = tuple(
            _smaller(repeat, size, of=sizes[-1], settings=settings) for repeat in resampled.repeats for size in sizes
        )
        grid = run_trials(replace(resampled, repeats=subsets), settings=[settings], session=working)
        trials = grid.trials[settings.recipe.name]
        rows = [trials[start : start + len(sizes)] for start in range(0, len(trials), len(sizes))]
        n_test = fmean(len(repeat.split.test) for repeat in resampled.repeats)
        error, loss = (
            learning_curve(scores, sizes=sizes, n_test=n_test, more=more, what=what, highest=highest)
            for what, highest, scores in (
                ("test error", 1.0, [[1 - trial.test_accuracy for trial in row] for row in rows]),
                ("test loss", math.inf, [[trial.test_loss for trial in row] for row in rows]),
            )
        )
        done = LearningCurveResult(
            folder=target,
            error=error,
            loss=loss,
            answer=learning_curve_answer(error, loss),
            notes=resampled.notes,
            n_trained=grid.n_trained,
            n_kept=grid.n_kept,
        )
        shared = {
            "learning_curve": target.name,
            "dataset": resampled.index.digest,
            "notes": [shared_text(line, data) for line in done.notes],
            "command": shared_command(session.command),
        }
        _write(folder, done, recipe=settings.recipe.name, shared=shared)
    return done


def _sizes(data: Path, repeats: Sequence[Repeat], *, more: int) -> tuple[int, ...]:
    """Numbers of train photos, ascending; the last is all of them. raises DatasetError or UsageError"""
    n_train = round(fmean(len(repeat.split.train) for repeat in repeats))
    n_smallest = min(min(Counter(photo.label for photo in r.split.train).values()) for r in repeats)
    sizes = subset_sizes(n_train, steps=STEPS, n_smallest_class=n_smallest)
    if len(sizes) < 3:
        raise DatasetError(
            f"{data}: the smallest class has {n_smallest} train photos in a split, but a learning curve of three "
            f"sizes needs {4 * LEAST}. Add photos of this class."
        )
    if more > n_train * 100:
        raise UsageError(
            f"--more {more}: cannot extrapolate that far from {n_train} train photos. Give at most 100 times as many."
        )
    return sizes


def _smaller(repeat: Repeat, size: int, *, of: int, settings: Settings) -> Repeat:
    """All train photos for the largest size, so that its training is the one that a study has in the cache."""
    if size == of:
        return repeat
    return replace(repeat, split=with_fewer(repeat.split, size, seed=[settings.photos.split_seed, repeat.number]))


def learning_curve_document(done: LearningCurveResult) -> dict[str, object]:
    """What learning-curve --json prints."""
    return {
        "learning_curve": str(done.folder),
        "answer": list(done.answer),
        "notes": list(done.notes),
        "test_error": done.error.model_dump(mode="json"),
        "test_loss": done.loss.model_dump(mode="json"),
        "n_trained": done.n_trained,
        "n_kept": done.n_kept,
    }


def _write(folder: Path, done: LearningCurveResult, *, recipe: str, shared: Mapping[str, Any]) -> None:
    """Write the files; `shared` is what the JSON document says in place of this machine's folders."""
    from imgreg.reports.learning_curve import learning_curve_report

    write_json(folder / "learning_curve.json", {**learning_curve_document(done), **shared})
    header = ("n_train", "test_accuracy", "low", "high", "test_loss", "low", "high")
    e, loss = done.error, done.loss
    rows = [
        (
            size,
            *(
                round(x, 4)
                for x in (1 - e.means[i], 1 - e.highs[i], 1 - e.lows[i], loss.means[i], loss.lows[i], loss.highs[i])
            ),
        )
        for i, size in enumerate(e.sizes)
    ]
    write_text(folder / "table.csv", rows_to_csv(header, rows))
    learning_curve_report(
        done.error,
        done.loss,
        findings=Findings(done.answer, shared["notes"], shared["command"]),
        recipe=recipe,
        folder=folder,
    )
