"""What a report says first of a run, and in which tone: from the curves and from everything that bears on them.

In: a run's summary. Out: a tone, a label and one sentence. Must not know: how these are shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from imgreg.analysis.baselines import beating
from imgreg.analysis.suspicions import DATA_FAULTS, GUESSING, LEAKAGE
from imgreg.analysis.verdict_rules import FITTING_WELL, OVERFITTING, TOO_NOISY, UNDERFITTING, is_hidden_by_lag
from imgreg.runs.summary import RunSummary, Suspicion

Tone = Literal["good", "doubt", "bad", "short", "unsure"]
_TONES: dict[str, Tone] = {FITTING_WELL: "good", OVERFITTING: "bad", UNDERFITTING: "short"}


@dataclass(frozen=True)
class Conclusion:
    """The claim of a report.

    Attributes
    ----------
    tone : {"good", "doubt", "bad", "short", "unsure"}
        "short" is of a head that has learned too little, "unsure" of curves that are too noisy.
    suspicion : Suspicion or None
        The one that the sentence is about.
    curves : str
        What the curves show, where the sentence is about something else.
    """

    tone: Tone
    label: str
    sentence: str
    suspicion: Suspicion | None = None
    curves: str = ""


def conclude(run: RunSummary) -> Conclusion:
    """Weigh the curves' verdict against what was found beside them.

    A fault in the photos comes first: it makes the curves' figures worthless. A shortcut does not where the head has
    hardly learned anything yet: a baseline is easily as good then. Other suspicions, and a baseline that beats the
    head, matter only where the curves look well. That a head is no better than guessing also says more than that its
    curves are noisy, but not where BatchNormalization's lagging statistics make it guess.
    """
    verdict = run.verdict
    curves = f"The curves alone: {verdict.sentence}"
    faults = (LEAKAGE,) if verdict.label == UNDERFITTING else DATA_FAULTS
    fault = next((one for one in verdict.suspicions if one.kind in faults), None)
    if fault is None and verdict.label == TOO_NOISY and not is_hidden_by_lag(verdict.evidence):
        fault = next((one for one in verdict.suspicions if one.kind == GUESSING), None)
    if fault is None and verdict.label == FITTING_WELL:
        fault = next(iter(verdict.suspicions), None)
        if fault is None and beating(run.baselines) is not None:
            return Conclusion("doubt", "a baseline does better", run.against_baselines, curves=curves)
    if fault is not None:
        return replace(doubted(fault), curves=curves)
    return Conclusion(_TONES.get(verdict.label, "unsure"), verdict.label, verdict.sentence)


def doubted(suspicion: Suspicion) -> Conclusion:
    """The claim of a report whose figures are not to be trusted."""
    found = suspicion.sentence.partition(" suspected: ")[2] or suspicion.sentence
    return Conclusion("doubt", f"{suspicion.kind} suspected", f"Don't trust this yet: {found}", suspicion)
