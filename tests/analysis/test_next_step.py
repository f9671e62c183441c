"""The most promising next step: each rule by what it must come before, and commands that can be typed."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

from given import a_baseline
from imgreg.analysis.next_step import most_promising
from imgreg.runs.earlier import EarlierFindings, Gain, earlier_findings
from imgreg.runs.summary import Baseline, RunSummary, Scores, StoppedEarly, Suspicion, Verdict

DATA = "my photos/ants"


def baseline(*, loss: float, beats: bool) -> Baseline:
    low = 0.02 if beats else -0.02
    return a_baseline(low=low, loss=loss)


def run(
    *,
    label: str = "fitting well",
    suspicions: tuple[str, ...] = (),
    evidence: dict | None = None,
    train_loss: float = 0.3,
    baselines: tuple[Baseline, ...] = (),
    epochs_run: int = 20,
    weights: str = "starter",
    command: str = "",
    finetuned_block: str | None = None,
    recipe: str = "plain",
    overrides: tuple[str, ...] = (),
) -> RunSummary:
    quality = tuple(Suspicion(kind=kind, sentence="", next_step="", evidence={}) for kind in suspicions)
    scores = Scores(
        epoch=9, train_loss=train_loss, train_accuracy=0.9, val_loss=0.4, val_accuracy=0.8, gap=0.4 - train_loss
    )
    return RunSummary.model_construct(
        verdict=Verdict(
            label=label, sentence="", next_step="As the verdict says.", evidence=evidence or {}, suspicions=quality
        ),
        best=scores,
        kept=scores,
        best_epoch=9,
        kept_epoch=9,
        epochs_run=epochs_run,
        baselines=baselines,
        weights=weights,
        image_size=128,
        recipe=recipe,
        overrides=overrides,
        n_folds=0,
        command=command,
        finetuned_block=finetuned_block,
    )


def kind(one: RunSummary) -> str:
    return most_promising(one, data=DATA, learning_rate=1e-3).kind


LAG = {"statistics_lag": 0.2, "guessing_loss": 0.69}
BEATS, EVEN = (baseline(loss=0.35, beats=True),), (baseline(loss=0.35, beats=False),)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"evidence": {"broken_epoch": 3}, "label": "underfitting", "suspicions": ("leakage",)}, "training"),
        ({"suspicions": ("label noise", "leakage"), "baselines": BEATS}, "clean split"),
        ({"suspicions": ("label noise", "shortcut"), "baselines": BEATS}, "better photos"),
        ({"suspicions": ("label noise", "guessing"), "baselines": BEATS}, "better labels"),
        ({"suspicions": ("guessing",), "baselines": BEATS, "label": "too noisy to tell"}, "more photos"),
        ({"suspicions": ("guessing",), "baselines": BEATS, "label": "too noisy to tell", "evidence": LAG}, "training"),
        ({"suspicions": ("guessing",), "label": "overfitting"}, "less overfitting"),
        ({"suspicions": ("shortcut",), "label": "underfitting"}, "training"),
        ({"baselines": BEATS, "label": "overfitting", "train_loss": 0.1}, "less overfitting"),
        ({"baselines": BEATS, "label": "overfitting", "train_loss": 0.3}, "less overfitting"),
        ({"baselines": EVEN, "label": "underfitting"}, "training"),
        ({"baselines": EVEN, "label": "overfitting"}, "less overfitting"),
        ({"label": "overfitting", "recipe": "regularized"}, "more photos"),
        ({"label": "overfitting", "recipe": "regularized", "overrides": ("training.epochs=60",)}, "more photos"),
        ({"label": "overfitting", "recipe": "regularized", "overrides": ("head.l2=0",)}, "less overfitting"),
        ({"label": "overfitting", "recipe": "blog"}, "less overfitting"),
        ({"label": "too noisy to tell", "epochs_run": 9}, "clearer answer"),
        ({"epochs_run": 9, "train_loss": 0.1}, "training"),
        ({"baselines": EVEN, "train_loss": 0.1}, "more photos"),
        ({"baselines": EVEN, "train_loss": 0.3}, "better features"),
    ],
)
def test_the_first_rule_that_holds_is_told(known: dict, expected: str) -> None:
    """Bad data comes before the head, the head before more data."""
    assert kind(run(**known)) == expected


@pytest.mark.parametrize(
    ("label", "advice", "n_folds", "command"),
    [
        ("underfitting", "Regularize less.", 5, "train 'my photos/ants' --recipe plain --learning-rate 0.01"),
        ("underfitting", "Train for more epochs.", 5, "train 'my photos/ants' --recipe plain --epochs 60"),
        ("overfitting", "Try dropout.", 5, "compare 'my photos/ants'"),
        ("too noisy to tell", "Add photos.", 5, "compare 'my photos/ants' --repeats 10"),
        ("too noisy to tell", "Add photos.", 0, "train 'my photos/ants' --recipe plain --folds 5"),
        ("too noisy to tell", "Lower the rate.", 0, "train 'my photos/ants' --recipe plain --learning-rate 0.0001"),
    ],
)
def test_the_verdicts_own_step_is_repeated_with_a_command(label: str, advice: str, n_folds: int, command: str) -> None:
    """Word for word, so that the page never gives two answers; the command does what it says."""
    one = run(label=label)
    verdict = one.verdict.model_copy(update={"next_step": advice})
    judged = one.model_copy(update={"verdict": verdict, "n_folds": n_folds})
    told = most_promising(judged, data=DATA, learning_rate=1e-3)
    assert told.sentence == f"{advice} Try `imgreg {command}`."


def test_the_command_is_the_users_own_with_one_change() -> None:
    """The name and the option that changes go, all others stay; a comparison's run gets a plain command."""
    typed = "imgreg train 'my photos/ants' --name=a --learning-rate 0.001 --lr 0.01 --name b --image-size 128 --json"
    told = most_promising(run(baselines=BEATS, train_loss=0.1, command=typed), data=DATA, learning_rate=1e-3).sentence
    assert "`imgreg train 'my photos/ants' --image-size 128 --learning-rate 0.0001`" in told
    told = most_promising(run(baselines=BEATS, command="imgreg compare x"), data=DATA, learning_rate=1e-3).sentence
    assert "`imgreg train 'my photos/ants' --recipe plain --learning-rate 0.01`" in told
    longer = most_promising(run(epochs_run=9), data=DATA, learning_rate=1e-3).sentence
    assert shlex.split(longer.split("`")[1])[-2:] == ["--epochs", "27"]


def test_a_head_that_still_learned_is_trained_for_longer() -> None:
    """One whose best epoch came early does not lack epochs: its rate is raised."""
    late = most_promising(run(baselines=BEATS, epochs_run=10), data=DATA, learning_rate=1e-3).sentence
    early = most_promising(run(baselines=BEATS, epochs_run=30), data=DATA, learning_rate=1e-3).sentence
    assert "Train longer (`imgreg train 'my photos/ants' --recipe plain --epochs 30`)" in late
    assert "Raise the learning rate (`imgreg train 'my photos/ants' --recipe plain --learning-rate 0.01`)" in early
    assert "(train loss 0.300, the baseline's 0.200)" in early


def test_what_stopped_early_gets_more_patience() -> None:
    """More epochs would change nothing where early stopping ended the training."""
    early = StoppedEarly(epoch=10, max_epochs=100, patience_epochs=4, min_delta=0.1)
    for known in ({"baselines": BEATS, "epochs_run": 10}, {"epochs_run": 9}):
        stopped = run(**known).model_copy(update={"stopped_early": early})
        told = most_promising(stopped, data=DATA, learning_rate=1e-3).sentence
        assert shlex.split(told.split("`")[1])[-2:] == ["--patience", "12"]


def test_a_home_folder_stays_one_that_a_shell_finds() -> None:
    """A run names it as ~, which a shell replaces only where it is not quoted."""
    typed = "imgreg train ~/'my photos' --epochs 9"
    told = most_promising(run(epochs_run=9, command=typed), data="~/my photos", learning_rate=1e-3).sentence
    assert "`imgreg train ~/'my photos' --epochs 27`" in told
    told = most_promising(run(suspicions=("label noise",)), data="~/my photos", learning_rate=1e-3).sentence
    assert "`imgreg label-issues ~/'my photos'`" in told


@pytest.mark.parametrize(
    ("gain", "n_contradicted", "expected"),
    [
        ((0.03, 0.01, 0.05), None, "more photos"),
        ((0.003, -0.002, 0.008), 12, "better labels"),
        ((0.003, -0.002, 0.008), 0, "better features"),
        ((0.02, -0.01, 0.05), 12, "better features"),  # too uncertain: the rules without it hold
    ],
)
def test_what_other_commands_found_decides(
    gain: tuple[float, float, float], n_contradicted: int | None, expected: str
) -> None:
    """A clear gain asks for photos; where more hardly help, doubtful labels come before features."""
    earlier = EarlierFindings(Gain(400, *gain), n_contradicted)
    step = most_promising(run(train_loss=0.35), data=DATA, learning_rate=1e-3, earlier=earlier)
    assert step.kind == expected
    if expected == "more photos":
        assert "400 train photos would be worth +3.0 points" in step.sentence


def test_better_features_go_from_weights_to_finetuning_to_size() -> None:
    """ImageNet's weights first, then block5 by the run's own command, then larger images."""
    said = [
        most_promising(run(train_loss=0.35, **kind), data=DATA, learning_rate=1e-3).sentence
        for kind in ({}, {"weights": "imagenet"}, {"weights": "imagenet", "finetuned_block": "block5"})
    ]
    assert "--weights imagenet" in said[0]
    assert "--finetune block5" in said[0]  # without them
    assert f"imgreg train {shlex.quote(DATA)} --recipe plain --finetune block5" in said[1]
    assert "larger than 128 px (`imgreg train 'my photos/ants' --recipe plain --image-size 256`)" in said[2]


def test_only_the_newest_result_of_the_same_photos_counts(tmp_path: Path) -> None:
    """Another dataset's curve, a damaged file and an older curve are passed over."""
    for age, (name, dataset, gain) in enumerate([("new", "same", 0.03), ("old", "same", 0.01), ("other", "x", 0.5)]):
        (tmp_path / name).mkdir()
        more = {"n_train": 400, "score": 0.1, "gain": gain, "gain_low": 0.0, "gain_high": 0.1}
        file = tmp_path / name / "learning_curve.json"
        file.write_text(json.dumps({"dataset": dataset, "test_error": {"more": more}, "answer": []}))
        os.utime(file, (1e9 - age, 1e9 - age))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "learning_curve.json").write_text('{"dataset": "same"}')
    found = earlier_findings(tmp_path, dataset="same")
    assert found.gain == Gain(400, 0.03, 0.0, 0.1)
    assert found.n_contradicted is None


def test_a_keras_head_is_trained_again_from_python() -> None:
    """No command takes a Keras model: the next step is a call, not a recipe that does not exist."""
    one = run(train_loss=0.35, weights="imagenet").model_copy(update={"recipe": "keras"})
    said = most_promising(one, data=DATA, learning_rate=1e-3).sentence
    assert f"`ws.train({DATA!r}, head=..., " in said
    assert "finetune='block5')`" in said
    assert "imgreg train" not in said
