"""A run, or several runs compared, as one HTML file that needs nothing else: no network, no folder beside it.

In: runs read back from their folders. Out: a file written whole. Refuses to know: how runs are made.
Text is escaped by jinja2; what cannot be seen or written becomes an escape such as \\udce9.
"""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from imgreg.analysis.compare import ComparisonRow, Disagreement, answer
from imgreg.reports.axes import DARK, LIGHT, Limits, Metric, shared_limits
from imgreg.reports.plots import chart_svg, darkened
from imgreg.reports.rows import notes, shortened
from imgreg.reports.text import one_line, visible
from imgreg.runs.folder import Run
from imgreg.runs.history import Epoch, History

SHOWN_SKIPPED = 100  # skipped files listed in a report; the others are in skipped.csv
_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Chart:
    """A figure in both colour schemes, as data addresses, with the words for who cannot see it."""

    heading: str
    light: str
    dark: str
    alt: str
    caption: str
    names: tuple[str, ...] = ()  # of the runs in it, in the order of their colours, where there are several


def run_report(run: Run, *, target: Path) -> None:
    """Write report.html of one run: the verdict first, then what it rests on.

    raises   OSError if the disk refuses
    """
    best, last = run.summary.best, run.summary.last
    loss = (
        f"Lowest validation loss {best.val_loss:.2f} at epoch {best.epoch} of {run.summary.epochs_run}; "
        f"at the end {last.val_loss:.2f}, train {last.train_loss:.2f}."
    )
    accuracy = (
        f"Validation accuracy {best.val_accuracy:.1%} at epoch {best.epoch}, {last.val_accuracy:.1%} "
        f"at the end; train {last.train_accuracy:.1%}."
    )
    charts = tuple(
        _chart(
            {"": run.history},
            metric=metric,
            first_colour=1,
            heading=what,
            caption=says,
            alt=f"{what} by epoch. {says}",
        )
        for (metric, what), says in zip(_METRICS, (loss, accuracy), strict=True)
    )
    write_page(
        "run.html.j2",
        target=target,
        run=run,
        charts=charts,
        notes=notes(run.summary),
        counts=_counts(run),
        shown_skipped=run.skipped[:SHOWN_SKIPPED],
        environment=_flat(run.environment),
        raw=_raw({run.summary.name: run.history}),
    )


def comparison_report(
    runs: Sequence[Run],
    *,
    rows: Sequence[ComparisonRow],
    warnings: Sequence[str],
    disagreements: Sequence[Disagreement] = (),
    target: Path,
) -> None:
    """Write one HTML file that compares runs; the first is the control.

    rows       comparison_table of the same runs, in the same order
    warnings   what a reader must know before comparing (same_ground)
    raises     OSError if the disk refuses
    """
    rows = shortened(rows, limit=60)
    histories = {row.name: run.history for row, run in zip(rows, runs, strict=True)}
    limits = shared_limits(histories)
    sides = tuple(
        _chart(
            {row.name: run.history},
            metric="loss",
            first_colour=i,
            limits=limits,
            heading=row.name,
            caption=f"At the end: validation {row.last_val_loss:.2f}, train {row.last_train_loss:.2f}, "
            f"gap {row.gap_last:.2f}.",
            alt=f"Loss of {row.name} by epoch. Validation: {row.best_val_loss:.2f} at best "
            f"(epoch {row.best_epoch}), {row.last_val_loss:.2f} at the end. "
            f"Train: {row.last_train_loss:.2f} at the end.",
        )
        for i, (row, run) in enumerate(zip(rows, runs, strict=True))
    )
    overlays = tuple(
        _chart(
            histories,
            metric=metric,
            heading=what,
            caption="",
            alt=f"{what} of {', '.join(histories)} by epoch; the figures are in the table.",
            names=tuple(histories),
        )
        for metric, what in _METRICS
    )
    told = [notes(run.summary) for run in runs]
    common = tuple(note for note in told[0] if all(note in each for each in told))
    write_page(
        "comparison.html.j2",
        target=target,
        runs=runs,
        rows=rows,
        answer=answer(rows),
        warnings=warnings,
        disagreements=disagreements,
        common_notes=common,
        own_notes=[tuple(note for note in each if note not in common) for each in told],
        overlays=overlays,
        panels=sides,
        raw=_raw(histories),
    )


_METRICS: tuple[tuple[Metric, str], ...] = (("loss", "Cross-entropy loss"), ("accuracy", "Accuracy"))


def write_page(template: str, *, target: Path, **values: Any) -> None:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"nats": _nats, "percent": _percent, "one_line": one_line}
    text = templates.get_template(template).render(light=LIGHT, dark=DARK, **values)
    partial = target.with_name(f".{target.name}.partial")
    partial.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    partial.replace(target)


def _chart(
    runs: dict[str, History],
    *,
    metric: Metric,
    heading: str,
    alt: str,
    caption: str,
    first_colour: int = 0,
    limits: Limits | None = None,
    names: tuple[str, ...] = (),
) -> Chart:
    svg = chart_svg(runs, metric=metric, first_colour=first_colour, limits=limits)
    return Chart(heading, data_address(svg), data_address(darkened(svg)), alt, caption, names)


def data_address(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")


def _counts(run: Run) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Photos of each class on each side of the split, and their sum."""
    counted = Counter((row.label, row.split) for row in run.split)
    rows = [(label, tuple(counted[label, split] for split in _SPLITS)) for label in run.summary.classes]
    return (*rows, ("all", tuple(sum(counts[i] for _, counts in rows) for i in range(len(_SPLITS)))))


def _flat(values: Any, *, under: str = "") -> tuple[tuple[str, str], ...]:
    """Nested tables as one: {"a": {"b": 1}} gives "a.b", "1"."""
    if isinstance(values, dict):
        return tuple(
            row for key, value in values.items() for row in _flat(value, under=f"{under}.{key}" if under else str(key))
        )
    return ((under, values if isinstance(values, str) else json.dumps(values)),)


def _raw(histories: dict[str, History]) -> list[dict[str, Any]]:
    """Every figure of every epoch, a list a column; what is not a number becomes null."""
    return [
        {
            "name": name,
            "epochs": {f.name: [_number(getattr(e, f.name)) for e in history.epochs] for f in fields(Epoch)},
        }
        for name, history in histories.items()
    ]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _nats(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
