"""What a report says first: the curves' verdict, unless something that was found beside them speaks against it."""

from __future__ import annotations

import numpy as np
import pytest

from given import a_baseline
from imgreg.analysis.baselines import paired_with
from imgreg.analysis.conclusion import conclude
from imgreg.analysis.sanity_baselines import accuracy_interval
from imgreg.analysis.suspicions import suspect_result
from imgreg.runs.summary import CalibrationScores, RunSummary, SanityBaseline, Suspicion, Verdict

HEAD = np.arange(100) < 82  # right on 82 of 100 photos


def control(name: str, n_correct: int, *, shared: int | None = None) -> SanityBaseline:
    """Right on `shared` photos that the head has right (by default as many as it can), and on others."""
    shared = min(n_correct, 82) if shared is None else shared
    correct = np.zeros(100, dtype=bool)
    correct[:shared], correct[82 : 82 + n_correct - shared] = True, True
    low, high = accuracy_interval(n_correct, 100)
    one = SanityBaseline(
        name=name, loss=0.5, accuracy=n_correct / 100, low=low, high=high, correct=tuple(correct.tolist())
    )
    return paired_with(one, head_correct=HEAD)


def run(
    *, label: str = "fitting well", suspicions: tuple[Suspicion, ...] = (), baseline_low: float = -1.0
) -> RunSummary:
    one = a_baseline(low=baseline_low)
    return RunSummary.model_construct(
        verdict=Verdict(label=label, sentence="The curves.", next_step="", evidence={}, suspicions=suspicions),
        baselines=(one,),
        against_baselines="Logistic regression performs better.",
    )


def suspected(*beside: SanityBaseline, calibration: CalibrationScores | None = None) -> tuple[Suspicion, ...]:
    return suspect_result(beside, accuracy=0.82, largest_share=0.5, calibration=calibration)


def test_file_metadata_as_good_as_the_head_take_the_green() -> None:
    """81 % by file metadata beside a head of 82 %: amber, with both figures in the one sentence."""
    found = suspected(control("majority", 50), control("file-metadata", 81))
    (told,) = found
    claim = conclude(run(suspicions=found))
    assert (claim.tone, claim.suspicion) == ("doubt", told)
    assert claim.sentence.startswith("Don't trust this yet: file size, format and camera metadata alone reach 81.0%")
    assert "(your model 82.0%," in claim.sentence
    assert conclude(run(suspicions=found, label="overfitting")).tone == "doubt"
    assert conclude(run(suspicions=found, label="underfitting")).sentence == "The curves."


@pytest.mark.parametrize(("shared", "kinds"), [(70, []), (52, ["shortcut"])])
def test_as_good_is_told_by_the_paired_interval(shared: int, kinds: list[str]) -> None:
    """Colours reach 70 %: of photos that the head has too, the head is clearly better; of many others, it is not."""
    assert [one.kind for one in suspected(control("colour-histogram", 70, shared=shared))] == kinds


def test_a_head_that_guesses() -> None:
    """A head not clearly better than a constant answer is called guessing; metadata as good as it are no shortcut."""
    found = suspect_result(
        [control("majority", 78, shared=70), control("file-metadata", 79)], accuracy=0.82, largest_share=0.78
    )
    assert [one.kind for one in found] == ["guessing"]
    assert conclude(run(suspicions=found)).tone == "doubt"
    assert conclude(run(suspicions=found, label="too noisy to tell")).tone == "doubt"
    assert conclude(run(suspicions=found, label="overfitting")).sentence == "The curves."


@pytest.mark.parametrize(("after", "n_photos", "told"), [(0.2, 100, True), (0.2, 99, False), (0.1, 100, False)])
def test_probabilities_that_are_off(after: float, n_photos: int, told: bool) -> None:
    """Told from a calibration error of 0.15 on 100 photos."""
    scores = CalibrationScores(
        temperature=1,
        n_photos=n_photos,
        log_loss_before=1,
        log_loss_after=1,
        calibration_error_before=0.3,
        calibration_error_after=after,
    )
    assert bool(suspected(calibration=scores)) == told


def test_the_tone_of_curves_that_nothing_speaks_against() -> None:
    """Each label has its tone; a baseline that beats the head takes the green, one that does not leaves it."""
    labels = ("fitting well", "overfitting", "underfitting", "too noisy to tell")
    assert [conclude(run(label=label)).tone for label in labels] == ["good", "bad", "short", "unsure"]
    beaten = conclude(run(baseline_low=0.05))
    assert (beaten.tone, beaten.sentence) == ("doubt", "Logistic regression performs better.")
    assert conclude(run(label="overfitting", baseline_low=0.05)).sentence == "The curves."


def test_no_suspicion_without_pairs() -> None:
    """A run of an older imgreg, whose controls are not paired, is not accused of guessing."""
    bare = SanityBaseline(name="majority", loss=0.7, accuracy=0.8, low=0.7, high=0.9)
    assert paired_with(bare, head_correct=HEAD) == bare
    assert suspected(bare) == ()
