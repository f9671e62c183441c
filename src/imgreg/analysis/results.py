"""What an analysis gave, as the value that its report, its text and its JSON document are made from.

In: runs, or trials. Out: values. Must not know: how they were trained, how they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgreg.analysis.baselines import StudyBaseline, comparison_sentence, shared_baselines
from imgreg.analysis.compare import ComparisonRow, comparison_table, same_conditions, shared_suspicions
from imgreg.analysis.lr_find import TriedRates
from imgreg.analysis.photo_effects import PhotoEffect, photo_effects
from imgreg.analysis.study import StudyTable
from imgreg.runs.folder import Run
from imgreg.runs.summary import Baseline, RunSummary, SanityBaseline
from imgreg.runs.trial import Trial


@dataclass(frozen=True)
class Findings:
    """What a report says in words.

    Attributes
    ----------
    answer : sequence of str
        The findings in sentences, the most important first.
    notes : sequence of str
        What a reader should know besides.
    command : str
        The command line, without this machine's folders; empty from Python.
    """

    answer: Sequence[str]
    notes: Sequence[str]
    command: str


@dataclass(frozen=True)
class Comparison:
    """Compared runs, the first of which is the control.

    Attributes
    ----------
    folder : Path
        Holds report.html with its figures beside it, table.csv and comparison.json.
    warnings : tuple of str
        What makes the runs not comparable, and their suspicions.
    baselines : tuple of Baseline
        If all runs share them.
    against_baselines : str
        Which runs beat them, in a sentence; empty without baselines.
    effects : tuple of PhotoEffect
        Of each run against the first, where they share their validation photos.
    """

    folder: Path
    runs: tuple[RunSummary, ...]
    rows: tuple[ComparisonRow, ...]
    warnings: tuple[str, ...]
    baselines: tuple[Baseline, ...]
    against_baselines: str
    effects: tuple[PhotoEffect, ...]


def comparison_of(runs: Sequence[Run], *, folder: Path) -> Comparison:
    """Compare runs with the first one, the control; `folder` is the comparison's."""
    summaries = tuple(run.summary for run in runs)
    rows = comparison_table(summaries)
    return Comparison(
        folder=folder,
        runs=summaries,
        rows=rows,
        warnings=(*same_conditions(runs), *shared_suspicions(runs)),
        baselines=shared_baselines(summaries),
        against_baselines=comparison_sentence({row.name: run for row, run in zip(rows, summaries, strict=True)}),
        effects=photo_effects(runs),
    )


@dataclass(frozen=True)
class Study:
    """A finished study.

    Attributes
    ----------
    folder : Path
        Holds report.html, study.json, table.csv, forest.png, curves.png and the recipes.
    trials : mapping of str to sequence of Trial
        Recipe to its trials, in the order of the repeats.
    groups : mapping of str to sequence of str
        Heading to the recipes that are drawn in one panel, the control first.
    rates : TriedRates or None
        The learning rates beside a range test's, where the plan has one.
    command : str
        The command line, without this machine's folders.
    """

    folder: Path
    table: StudyTable
    trials: Mapping[str, Sequence[Trial]]
    groups: Mapping[str, Sequence[str]]
    answer: tuple[str, ...]
    notes: tuple[str, ...] = ()
    sanity_baselines: tuple[SanityBaseline, ...] = ()
    baselines: tuple[StudyBaseline, ...] = ()
    rates: TriedRates | None = None
    command: str = ""
    n_trained: int = 0
    n_kept: int = 0
    seconds: float = 0.0
