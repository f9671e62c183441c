"""What each analysis gave, as the value that a notebook shows: its sentences, its table and its figure.

In: results of the functions behind the commands. Out: Result and what derives from it. Must not know: options.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgreg.api.result import ComparisonResult, Result, TuneResult
from imgreg.api.run import load_run
from imgreg.api.table import Table

if TYPE_CHECKING:
    from imgreg.analysis.results import Comparison, Study
    from imgreg.api.check import Check
    from imgreg.api.label_issues import LabelIssues
    from imgreg.api.learning_curve import LearningCurveResult
    from imgreg.api.lr_find import LearningRateResult
    from imgreg.api.tune import Tuned


def comparison_result(done: Comparison) -> ComparisonResult:
    from imgreg.analysis.comparison_answer import answer
    from imgreg.api.compare import comparison_document

    return ComparisonResult(
        f"Comparison of {', '.join(row.name for row in done.rows)}",
        answer=(answer(done.rows, done.effects), *filter(None, [done.against_baselines]), *done.warnings),
        table=Table([row.model_dump(mode="json", exclude={"run", "verdict_sentence"}) for row in done.rows]),
        document=comparison_document(done),
        folder=done.folder,
        figure="panels.svg",
        runs=tuple(load_run(run.run) for run in done.runs),
    )


def study_result(title: str, done: Study) -> ComparisonResult:
    from imgreg.api.study import study_document

    rows = [row.model_dump(mode="json") for row in done.table.rows]
    nested = {name for row in rows for name, value in row.items() if isinstance(value, dict | list)}
    return ComparisonResult(
        title,
        answer=(*done.answer, *done.notes),
        table=Table([{name: value for name, value in row.items() if name not in nested} for row in rows]),
        document=study_document(done),
        folder=done.folder,
        figure="forest.png",
    )


def tune_result(data: Path, done: Tuned) -> TuneResult:
    from imgreg.api.tune import tune_document

    rows = [{"trial": one.number, "status": one.status, "loss": one.loss, **one.values} for one in done.trials]
    return TuneResult(
        f"Recipe tuned for {data.name}",
        answer=(*done.answer, *done.notes),
        table=Table(rows),
        document=tune_document(done),
        folder=done.folder,
        figure="progress.png",
        recipe=done.recipe,
        run=load_run(done.run),
    )


def learning_curve_result(data: Path, done: LearningCurveResult) -> Result:
    from imgreg.api.learning_curve import learning_curve_document

    error = done.error
    rows = [
        {"n_train": n_train, "test_error": mean, "low": low, "high": high}
        for n_train, mean, low, high in zip(error.sizes, error.means, error.lows, error.highs, strict=True)
    ]
    return _result(f"Learning curve of {data.name}", done, rows, learning_curve_document(done), figure="curve.png")


def learning_rate_result(data: Path, done: LearningRateResult) -> Result:
    from imgreg.api.lr_find import learning_rate_document

    pairs = zip(done.curve.rates, done.curve.losses, strict=True)
    rows = [{"learning_rate": rate, "train_loss": loss} for rate, loss in pairs]
    return _result(f"Learning rates for {data.name}", done, rows, learning_rate_document(done), figure="curve.png")


def label_issues_result(data: Path, done: LabelIssues) -> Result:
    from imgreg.api.label_issues import label_issues_document

    document = label_issues_document(done)
    rows: Any = document["photos"]
    return _result(f"Label issues of {data.name}", done, rows, document, figure="sheet.png")


def _result(
    title: str,
    done: LearningCurveResult | LearningRateResult | LabelIssues,
    rows: Sequence[dict[str, Any]],
    document: dict[str, Any],
    *,
    figure: str,
) -> Result:
    answer = (*done.answer, *done.notes)
    return Result(title, answer=answer, table=Table(rows), document=document, folder=done.folder, figure=figure)


def check_result(data: Path, done: Check) -> Result:
    from imgreg.api.check import check_document

    shown = [
        {"code": one.code, "severity": one.severity, "finding": one.says, "advice": one.advice} for one in done.findings
    ]
    answer = ("Training would reject these photos.",) if done.stops else ()
    answer = answer or (("Training would accept these photos.",) if done.findings else ("No problems found.",))
    return Result(f"Check of {data.name}", answer=answer, table=Table(shown), document=check_document(done))
