"""imgreg howmuch: the score against the number of train photos, and what more of them would bring."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from imgreg.analysis.learning_curve import LearningCurve, howmuch_answer, learning_curve
from imgreg.config import Settings
from imgreg.errors import DatasetError, UsageError
from imgreg.photos.resplit import Repeat
from imgreg.photos.subsets import LEAST, subset_sizes, with_fewer
from imgreg.places import shared_command, shared_text
from imgreg.runs.folder import rows_to_csv, whole_folder, write_json, write_text
from imgreg.workflows.cells import fill_grid
from imgreg.workflows.names import checked_name, unused_name
from imgreg.workflows.study import TEST_FRACTION
from imgreg.workflows.watch import Watcher

STEPS = 6  # sizes at most, each half the next


@dataclass(frozen=True)
class HowMuch:
    """A finished look. `folder` holds report.html, curve.png, howmuch.json and table.csv."""

    folder: Path
    error: LearningCurve  # share of photos answered wrong
    loss: LearningCurve
    answer: tuple[str, ...]
    notes: tuple[str, ...]
    n_trained: int
    n_kept: int


def howmuch(
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
) -> HowMuch:
    """Train on nested halves of the train photos, score on the same test photos, and fit a power law.

    repeats   splits drawn, each with all sizes
    more      photos to look ahead
    resume    as in study
    raises    DatasetError if a class is too small for three sizes; ImgregError's other children
    """
    from imgreg.workflows.prepare import lay_repeats, refuse_writing_inside

    watcher = watcher or Watcher()
    refuse_writing_inside(data, models)
    target = models / checked_name(name or unused_name(models, "howmuch"))
    with whole_folder(target) as folder:
        laid = lay_repeats(
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
        grid = fill_grid(
            replace(laid, drawn=drawn), settings=[settings], cache_bytes=cache_bytes, resume=resume, watcher=watcher
        )
        cells = grid.cells[settings.recipe.name]
        rows = [cells[start : start + len(sizes)] for start in range(0, len(cells), len(sizes))]
        n_test = fmean(len(repeat.split.test) for repeat in whole)
        error, loss = (
            learning_curve(scores, sizes=sizes, n_test=n_test, more=more, what=what, highest=highest)
            for what, highest, scores in (
                ("test error", 1.0, [[1 - cell.test_accuracy for cell in row] for row in rows]),
                ("test loss", math.inf, [[cell.test_loss for cell in row] for row in rows]),
            )
        )
        done = HowMuch(
            folder=target,
            error=error,
            loss=loss,
            answer=howmuch_answer(error, loss),
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


def howmuch_document(done: HowMuch) -> dict[str, object]:
    """What howmuch --json prints."""
    return {
        "howmuch": str(done.folder),
        "answer": list(done.answer),
        "notes": list(done.notes),
        "test_error": done.error.model_dump(mode="json"),
        "test_loss": done.loss.model_dump(mode="json"),
        "n_trained": done.n_trained,
        "n_kept": done.n_kept,
    }


def _write(folder: Path, done: HowMuch, *, recipe: str, command: str, notes: list[str]) -> None:
    """command, notes   as shared files have them, without this machine's folders"""
    from imgreg.reports.learning_curve import curve_figure, howmuch_report

    shared = {"howmuch": done.folder.name, "notes": notes, "command": command}
    write_json(folder / "howmuch.json", howmuch_document(done) | shared)
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
    howmuch_report(
        done.error,
        done.loss,
        answer=done.answer,
        notes=notes,
        recipe=recipe,
        command=command,
        target=folder / "report.html",
    )
