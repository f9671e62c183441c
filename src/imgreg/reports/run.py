"""report.html of one run, and its figures beside it: the verdict first, then what it rests on.

In: a run read back from its folder, and small pictures of some of its photos. Out: files.
Must not know: how runs are made, where photos are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from imgreg.analysis.conclusion import conclude
from imgreg.analysis.metrics import class_scores
from imgreg.analysis.notable import Notable, notable_photos
from imgreg.analysis.performance import Performance, Scored, performance, scored_photos
from imgreg.analysis.sanity_baselines import accuracy_interval
from imgreg.config import SHUFFLED_LABELS, CurveStyle
from imgreg.paths import shared_command, shared_path, shared_text
from imgreg.reports.baselines import NAMES, baselines_drawn
from imgreg.reports.epoch_axis import rate_in_words
from imgreg.reports.figure import save_figure
from imgreg.reports.layers import layer_figures
from imgreg.reports.page import Caption, Chart, chart, jpeg_address, number, write_page
from imgreg.reports.performance import Drawn, performance_figures
from imgreg.reports.plots import curves_chart, curves_figure
from imgreg.reports.rows import (
    FIGURE_NAMES,
    calibration_in_words,
    colour_number,
    ended_in_words,
    held_out_in_words,
    marks_of,
    notes,
)
from imgreg.reports.run_axes import AS_MEASURED, Metric, PlotOptions
from imgreg.reports.run_photos import shown_photos
from imgreg.reports.words import recipe_in_words
from imgreg.runs.evaluations import optimism
from imgreg.runs.folder import PRIVATE, Run
from imgreg.runs.history import Epoch, History
from imgreg.runs.summary import Baseline, RunSummary, SanityBaseline

SHOWN_SKIPPED = 100  # skipped files listed in a report; the others are in skipped.csv
_IN_OTHER_TABLES = ("accuracy", "precision", "recall", "f1")  # above, and for each class
METRICS: tuple[tuple[Metric, str], ...] = (("loss", "Cross-entropy loss"), ("accuracy", "Accuracy"))
_SIDES: tuple[tuple[Literal["train", "val", "test"], str], ...] = (
    ("train", "train"),
    ("val", "validation"),
    ("test", "test"),
)
_SIDES_IN_FOLDS: tuple[tuple[Literal["val", "test"], str], ...] = (("val", "cross-validation"), ("test", "test"))


@dataclass(frozen=True)
class Tile:
    """One of the figures at the top of a report: what it is, its value, and what belongs to it."""

    label: str
    value: str
    note: str = ""


def run_report(
    run: Run,
    *,
    folder: Path,
    pictures: Mapping[str, bytes],
    maps: Mapping[str, bytes],
    architecture: Sequence[Mapping[str, Any]] = (),
    style: CurveStyle = AS_MEASURED,
) -> tuple[str, ...]:
    """Write report.html, and curves, baselines, roc, precision_recall and calibration as .png and .svg, into a folder.

    Parameters
    ----------
    pictures : mapping
        JPEG by the photo's sha256, of those that are available.
    maps : mapping
        The same with Grad-CAM over them.
    architecture : sequence of tuple, optional
        Layers of the head: name, kind, detail, output_shape, n_parameters, n_trainable (heads/summary.py).
    style : CurveStyle, optional
        How the curves are drawn.

    Returns
    -------
    tuple of str
        The names of the files written.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    summary, scored, found = run.summary, scored_photos(run), notable_photos(run)
    settings, command = shared_text(run.config_toml), shared_command(summary.command)  # an older run has whole paths
    options = PlotOptions(style, colours=(colour_number(summary),), marks=marks_of(summary))
    save_figure(curves_figure(run.history, title=summary.name, options=options), folder / "curves.png")
    measured = performance(scored, classes=summary.classes)
    drawn = performance_figures(measured) if measured else ()
    layered = layer_figures(run)
    figures, layers = ([_saved(one, folder) for one in each] for each in (drawn, layered))
    compared = baselines_drawn(summary)
    sheet = folder / "views.png"
    write_page(
        "run.html.j2",
        target=folder / "report.html",
        run=run,
        conclusion=conclude(summary),
        tiles=_tiles(summary, scored),
        charts=_curves(run, options=options),
        baselines=None if compared is None else _saved(compared, folder),
        stopped=ended_in_words(summary),
        measured=measured,
        class_scores=class_scores(measured.metrics) if measured else (),
        figure_names={name: shown for name, shown in FIGURE_NAMES.items() if name not in _IN_OTHER_TABLES},
        figures=figures,
        layers=layers,
        calibration=calibration_in_words(summary),
        optimism=optimism(summary.test.n_photos, summary.test.n_runs_scored) if summary.test else "",
        on_test=scored.side == "test",
        scored_photos=f"{summary.n_test} test photos" if scored.side == "test" else held_out_in_words(summary),
        n_mistakes=int((scored.probabilities.argmax(axis=1) != scored.labels).sum()),
        **shown_photos(run, found, scored, pictures=pictures, maps=maps),
        words=recipe_in_words(settings),
        architecture=architecture,
        settings=settings,
        command=command,
        views=_as_jpeg(sheet) if sheet.is_file() else "",
        notes=notes(summary),
        sides=[name for _, name in (_SIDES_IN_FOLDS if summary.n_folds else _SIDES)],
        counts=_counts(run),
        shown_skipped=[replace(row, path=shared_path(row.path)) for row in run.skipped[:SHOWN_SKIPPED]],
        environment=_flat({key: value for key, value in run.environment.items() if key not in PRIVATE}),
        raw=_raw(run, measured, found, command=command),
    )
    stems = ("curves", *(one.stem for one in (*([compared] if compared else []), *drawn, *layered)))
    return ("report.html", *(f"{stem}{kind}" for stem in stems for kind in (".png", ".svg")))


def _saved(drawn: Drawn, folder: Path) -> Chart:
    """Write the figure's files, and make it fit for the page."""
    return chart(
        save_figure(drawn.figure, folder / f"{drawn.stem}.png"),
        Caption(heading=drawn.heading, alt=drawn.alt, caption=drawn.caption),
        names=drawn.names,
        hover=drawn.hover,
    )


def _tiles(summary: RunSummary, scored: Scored) -> tuple[Tile, ...]:
    """Accuracy, gap, kept epoch, and the best baseline beside the head."""
    correct = int((scored.probabilities.argmax(axis=1) == scored.labels).sum())
    n = len(scored.labels)
    low, high = accuracy_interval(correct, n)
    side = "Test" if scored.side == "test" else "Cross-validated" if summary.n_folds else "Validation"
    gap_low, gap_high = (summary.verdict.evidence.get(f"gap_last_{end}") for end in ("low", "high"))
    bounds = "" if gap_low is None or gap_high is None else f"95 %: {gap_low:.3f} to {gap_high:.3f}"
    last = summary.last
    tiles = [
        Tile(f"{side} accuracy", f"{correct / n:.1%}", f"95 %: {low:.1%} to {high:.1%}, {n} photos"),
        Tile("Train-validation gap, last epoch", f"{last.gap:.3f}", bounds),
        Tile("Kept epoch", f"{summary.kept_epoch} of {summary.epochs_run}", _losses(summary)),
    ]
    measured: tuple[Baseline | SanityBaseline, ...] = (*summary.baselines, *summary.sanity_baselines)
    beside = [one for one in measured if one.name != SHUFFLED_LABELS]
    if beside:
        one = max(beside, key=lambda it: it.accuracy)
        elsewhere = " in cross-validation" if summary.n_folds else " on validation photos"
        on = elsewhere if scored.side == "test" else ""
        note, difference = f"this model {summary.kept.val_accuracy:.1%}{on}", one.accuracy_difference
        if difference is not None and difference.low is not None and difference.high is not None:
            note += f"; difference {100 * difference.mean:+.1f} ({100 * difference.low:+.1f} to "
            note += f"{100 * difference.high:+.1f}) points"
        tiles.append(Tile(f"Best baseline: {NAMES.get(one.name, one.name)}", f"{one.accuracy:.1%}", note))
    return tuple(tiles)


def _losses(summary: RunSummary) -> str:
    """Validation losses of the best and the last epoch, one of which was kept."""
    best, last = summary.best, summary.last
    if summary.kept_epoch == best.epoch:
        return f"validation loss {best.val_loss:.3f}, the lowest; last {last.val_loss:.3f}"
    return f"validation loss {summary.kept.val_loss:.3f}, lowest {best.val_loss:.3f} (epoch {best.epoch})"


def _curves(run: Run, *, options: PlotOptions) -> tuple[Chart, ...]:
    best, last = run.summary.best, run.summary.last
    loss = (
        f"Lowest validation loss {best.val_loss:.2f} at epoch {best.epoch} of {run.summary.epochs_run}; at the last "
        f"epoch {last.val_loss:.2f}, train loss {last.train_loss:.2f}. {rate_in_words(run.history)}"
    ).rstrip()
    accuracy = (
        f"Validation accuracy {best.val_accuracy:.1%} at epoch {best.epoch}, {last.val_accuracy:.1%} at the last "
        f"epoch; train accuracy {last.train_accuracy:.1%}."
    )
    return tuple(
        curves_chart(
            {"": run.history},
            Caption(heading=what, alt=f"{what} by epoch. {says}", caption=says),
            metric=metric,
            options=options,
            is_large=metric == "loss",
        )
        for (metric, what), says in zip(METRICS, (loss, accuracy), strict=True)
    )


def _as_jpeg(sheet: Path) -> str:
    from PIL import Image

    from imgreg.reports.pictures import jpeg

    with Image.open(sheet, formats=("PNG",)) as image:
        return jpeg_address(jpeg(np.asarray(image.convert("RGB"))))


def _counts(run: Run) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Photos of each class in each split, and their sum."""
    sides = [side for side, _ in (_SIDES_IN_FOLDS if run.summary.n_folds else _SIDES)]
    rows = [
        (label, tuple(sum(row.on(side) for row in run.split if row.label == label) for side in sides))
        for label in run.summary.classes
    ]
    return (*rows, ("all", tuple(sum(counts[i] for _, counts in rows) for i in range(len(sides)))))


def _flat(values: Any, *, under: str = "") -> tuple[tuple[str, str], ...]:
    """Nested tables as one: {"a": {"b": 1}} gives "a.b", "1"."""
    if isinstance(values, Mapping):
        return tuple(
            row for key, value in values.items() for row in _flat(value, under=f"{under}.{key}" if under else str(key))
        )
    return ((under, str(values)),)


def raw(histories: Mapping[str, History]) -> list[dict[str, Any]]:
    """Every figure of every epoch, a list a column; what is not a number becomes null."""
    return [
        {
            "name": name,
            "epochs": {f.name: [number(getattr(e, f.name)) for e in history.epochs] for f in fields(Epoch)},
        }
        for name, history in histories.items()
    ]


def _raw(run: Run, measured: Performance | None, found: Notable, *, command: str) -> dict[str, Any]:
    """The figures behind the report, for who reads the page by program."""
    summary = run.summary
    return {
        "history": raw({summary.name: run.history}),
        "summary": summary.model_dump(mode="json") | {"run": summary.name, "command": command},
        "performance": measured
        and {
            "side": measured.side,
            "metrics": measured.metrics.model_dump(mode="json"),
            "calibration": [asdict(one) for one in measured.bins],
            "thresholds": [asdict(one) for one in measured.thresholds],
        },
        "photos": {
            name: [run.split[row].path for row in getattr(found, name)]
            for name in ("mistakes", "uncertain", "memorized")
        },
    }
