"""imgreg learning-curve: the score against the number of train photos, and what more of them would bring."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from imgreg.analysis.learning_curve import LearningCurve, learning_curve, learning_curve_answer
from imgreg.api.study import TEST_FRACTION
from imgreg.config import Settings
from imgreg.data.resample import Repeat
from imgreg.data.subsets import LEAST, subset_sizes, with_fewer
from imgreg.errors import DatasetError, UsageError
from imgreg.paths import shared_command, shared_text
from imgreg.progress import Watcher
from imgreg.runs.folder import atomic_folder, rows_to_csv, write_json, write_text
from imgreg.runs.names import checked_name, unused_name
from imgreg.training.dataset import prepare_repeats, refuse_writing_inside
from imgreg.training.trials import run_trials

STEPS = 6  # sizes at most, each half the next


@dataclass(frozen=True)
class LearningCurveResult:
    """A finished look. `folder` holds report.html, curve.png, learning_curve.json and table.csv."""

    folder: Path
    error: LearningCurve  # share of photos answered wrong
    loss: LearningCurve
    answer: tuple[str, ...]
    notes: tuple[str, ...]
    n_trained: int
    n_kept: int


def find_learning_curve(
    data: Path,
    *,
    settings: Settings,
    repeats: int,
    more: int,
    models: Path,
    name: str | None = None,
    command: str = "",
    cache_bytes: int | None = None,
    resume: bool | None = None,
    watcher: Watcher | None = None,
) -> LearningCurveResult:
    """Train on nested halves of the train photos, score on the same test photos, and fit a power law.

    repeats   splits drawn, each with all sizes
    more      photos to look ahead
    resume    as in study
    raises    DatasetError if a class is too small for three sizes; ImgregError's other children
    """

    watcher = watcher or Watcher()
    refuse_writing_inside(data, models)
    target = models / checked_name(name or unused_name(models, "learning-curve"))
    with atomic_folder(target) as folder:
        laid = prepare_repeats(
            data,
            settings,
            repeats=repeats,
            folds=0,
            test_fraction=TEST_FRACTION,
            cache_bytes=cache_bytes,
            watcher=watcher,
        )
        whole = laid.drawn
        n_train = round(fmean(len(repeat.split.train) for repeat in whole))
        n_smallest = min(min(Counter(photo.label for photo in r.split.train).values()) for r in whole)
        sizes = subset_sizes(n_train, steps=STEPS, n_smallest_class=n_smallest)
        if len(sizes) < 3:
            raise DatasetError(
                f"{data}: the smallest class has {n_smallest} train photos in a split, but a learning curve of three "
                f"sizes needs {4 * LEAST}. Add photos of this class."
            )
        if more > n_train * 100:
            raise UsageError(
                f"--more {more}: cannot extrapolate that far from {n_train} train photos. Give at most 100 times as "
                "many."
            )
        drawn = tuple(_smaller(repeat, size, of=n_train, settings=settings) for repeat in whole for size in sizes)
        grid = run_trials(
            replace(laid, drawn=drawn), settings=[settings], cache_bytes=cache_bytes, resume=resume, watcher=watcher
        )
        trials = grid.trials[settings.recipe.name]
        rows = [trials[start : start + len(sizes)] for start in range(0, len(trials), len(sizes))]
        n_test = fmean(len(repeat.split.test) for repeat in whole)
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
            notes=laid.notes,
            n_trained=grid.n_trained,
            n_kept=grid.n_kept,
        )
        notes = [shared_text(line, data) for line in done.notes]
        _write(folder, done, recipe=settings.recipe.name, command=shared_command(command), notes=notes)
    return done


def _smaller(repeat: Repeat, size: int, *, of: int, settings: Settings) -> Repeat:
    """All train photos for the largest size, so that its training is the one that a study keeps."""
    if size == of:
        return repeat
    return replace(repeat, split=with_fewer(repeat.split, size, seed=[settings.photos.split_seed, repeat.number]))


def learning_curve_document(done: LearningCurveResult) -> dict[str, object]:
    """What howmuch --json prints."""
    return {
        "learning_curve": str(done.folder),
        "answer": list(done.answer),
        "notes": list(done.notes),
        "test_error": done.error.model_dump(mode="json"),
        "test_loss": done.loss.model_dump(mode="json"),
        "n_trained": done.n_trained,
        "n_kept": done.n_kept,
    }


def _write(folder: Path, done: LearningCurveResult, *, recipe: str, command: str, notes: list[str]) -> None:
    """command, notes   as shared files have them, without this machine's folders"""
    from imgreg.reports.learning_curve import curve_figure, learning_curve_report

    shared = {"learning_curve": done.folder.name, "notes": notes, "command": command}
    write_json(folder / "learning_curve.json", learning_curve_document(done) | shared)
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
    curve_figure(done.error, done.loss, target=folder / "curve.png")
    learning_curve_report(
        done.error,
        done.loss,
        answer=done.answer,
        notes=notes,
        recipe=recipe,
        command=command,
        target=folder / "report.html",
    )
