"""Texts for the terminal: 80 columns, no colour needed, any name."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from given import a_baseline
from imgreg.analysis.compare import comparison_table
from imgreg.analysis.label_issues import rank_labels
from imgreg.analysis.learning_curve import LearningCurve, learning_curve
from imgreg.analysis.results import comparison_of
from imgreg.reports.terminal.repeats import label_issues_text, learning_curve_text
from imgreg.reports.terminal.runs import comparison_text, entries_text, run_text
from imgreg.runs.listing import Entry
from imgreg.runs.summary import NextStep, SanityBaseline, StoppedEarly, Suspicion


def printed(renderable, *, width=80):
    text = io.StringIO()
    Console(file=text, width=width, no_color=True, force_terminal=False).print(renderable)
    return text.getvalue()


def compared(runs, **changes):
    return replace(comparison_of(runs, folder=Path("models/compare")), **changes)


def listed(*summaries, width=80):
    made = [
        Entry(
            kind="run",
            name=summary.name,
            folder=Path(summary.run),
            created=summary.created,
            dataset="pets",
            recipe=summary.recipe_label,
            answer=summary.verdict.sentence,
            val_losses=(0.8, 0.4, 0.2),
            summary=summary,
        )
        for summary in summaries
    ]
    return printed(entries_text(made), width=width)


@pytest.fixture
def odd_runs(make_run, overfitting, healthy, plant):
    one = plant(np.array([0.6]), np.array([0.65]))
    exploding = plant(np.linspace(0.7, 0, 40), 0.5 + np.exp(np.arange(40) / 7))
    return [
        make_run(overfitting, name="plain", weights_note="The starter weights were used."),
        make_run(healthy, name="가" * 300),
        make_run(one, name="[b]\udce9\n\x1b"),
        make_run(exploding, name="a" * 300),
    ]


def test_run_box_says_the_verdict_and_where_the_report_is(make_run, overfitting):
    """The box holds the verdict, both epochs' losses, the note on the weights once, and the report's path."""
    run = make_run(overfitting, weights_note="Starter weights used.", warnings=("Starter weights used.",))
    text = printed(run_text(run.summary))
    flat = " ".join(text.replace("│", " ").split())
    assert run.summary.verdict.sentence in flat
    assert flat.count("Starter weights used.") == 1
    assert f"{overfitting.best.val_loss:.3f}" in text
    assert f"{overfitting.last.val_loss:.3f}" in text
    assert "models/plain/report.html" in text


def test_what_was_told_is_not_repeated(make_run, overfitting):
    """A note that is on the terminal already is left out of the box and of a comparison."""
    run = make_run(overfitting, warnings=("photos are few",))
    assert "photos are few" in printed(run_text(run.summary))
    assert "photos are few" not in printed(run_text(run.summary, printed={"photos are few"}))
    both = compared([run, make_run(overfitting, name="b")], warnings=("odd",))
    assert "odd" in printed(comparison_text(both))
    assert "odd" not in printed(comparison_text(both, printed={"odd"}))


def test_the_next_command_can_be_copied(make_run, overfitting):
    """On a line of its own after the report's, with the places as the user typed them."""
    step = NextStep(kind="training", sentence="Longer training. Try `imgreg train pets --models m --epochs 90`.")
    run = make_run(overfitting).summary.model_copy(update={"next_step": step})
    typed = ("imgreg", "train", "/mnt/pets", "--models", "/mnt/m")
    assert printed(run_text(run, typed=typed)).splitlines()[-1] == (
        "Next: imgreg train /mnt/pets --models /mnt/m --epochs 90"
    )
    told = run.model_copy(update={"next_step": NextStep(kind="more photos", sentence="Add photos.")})
    assert printed(run_text(told)).splitlines()[-1].startswith("Report:")


def test_every_text_fits_80_columns(odd_runs):
    """No line is wider than 80 columns, and no figure is cut, with long, wide and odd names."""
    summaries = [run.summary for run in odd_runs]
    rows = comparison_table(summaries)
    texts = [printed(run_text(summary)) for summary in summaries]
    texts += [printed(comparison_text(compared(odd_runs))), listed(*summaries)]
    for text in texts:
        assert max(cell_len(line) for line in text.splitlines()) <= 80
    exploding = f"{rows[-1].gap_difference:+.0f}"  # nats: hundreds of times the control's gap
    assert exploding in texts[-2]
    assert ">" not in texts[-2]
    assert "too noisy to tell" in texts[-1]


def test_early_stopping_is_told(make_run, healthy):
    """When and why training stopped early follows the verdict; a run that did not stop early has no such line."""
    run = make_run(healthy).summary
    assert "stopped early" not in printed(run_text(run))
    early = StoppedEarly(epoch=100, max_epochs=300, patience_epochs=7, min_delta=0.0)
    flat = " ".join(printed(run_text(run.model_copy(update={"stopped_early": early}))).replace("│", " ").split())
    assert (
        f"{run.verdict.sentence} Training stopped early, after epoch 100 of 300: the last 7 epochs did not lower the "
        "validation loss (patience_epochs = 7)."
    ) in flat
    creeping = early.model_copy(update={"patience_epochs": 1, "min_delta": 0.01})
    flat = " ".join(printed(run_text(run.model_copy(update={"stopped_early": creeping}))).replace("│", " ").split())
    assert "the last epoch did not lower the validation loss by more than 0.01 nats" in flat


def test_suspicions_and_controls_stand_in_the_box(make_run, healthy):
    """A fault in the photos comes before the verdict, other suspicions with their next step after it, with each
    control's accuracy."""
    run = make_run(healthy).summary
    assert "Sanity baselines" not in printed(run_text(run))
    doubt = Suspicion(
        kind="leakage", sentence="Leakage suspected: 7 have a twin.", next_step="Look at duplicates.csv.", evidence={}
    )
    noise = doubt.model_copy(
        update={"kind": "label noise", "sentence": "Some look wrong.", "next_step": "Review them."}
    )
    colours = SanityBaseline(
        name="colour-histogram", loss=0.3, accuracy=0.81, low=0.7, high=0.9, note="All of it memory."
    )
    doubted = run.model_copy(
        update={
            "verdict": run.verdict.model_copy(update={"suspicions": (doubt, noise)}),
            "sanity_baselines": (colours,),
        }
    )
    flat = " ".join(printed(run_text(doubted)).replace("│", " ").split())
    claim = flat.index("Don't trust this yet: 7 have a twin. The curves alone: Fitting well")
    assert claim < flat.index("Some look wrong. Review them.")
    assert "Sanity baselines (validation accuracy): colour-histogram 81%. All of it memory." in flat


def test_the_box_tells_who_is_better_and_one_next_step(make_run, healthy):
    """The sentence about the baselines follows the verdict's; the most promising step replaces the verdict's own."""
    run = make_run(healthy).summary
    one = a_baseline(low=-0.1, mean=0.0, high=0.1, loss=0.314, accuracy=0.85)
    told = run.model_copy(
        update={
            "baselines": (one,),
            "against_baselines": "Logistic regression does better here.",
            "next_step": NextStep(kind="more photos", sentence="More photos."),
        }
    )
    flat = " ".join(printed(run_text(told)).replace("│", " ").split())
    assert f"{run.verdict.sentence} Logistic regression does better here. Next: More photos." in flat
    assert "Baselines (validation loss, accuracy): logistic-regression-means 0.314 (85.0%)." in flat
    assert f"Next: {run.verdict.next_step}" in " ".join(printed(run_text(run)).replace("│", " ").split())


def curve(what: str) -> LearningCurve:
    scores = 0.1 + np.array([64, 128, 256]) ** -0.5 + np.random.default_rng(0).normal(0, 0.01, (4, 3))
    return learning_curve(scores.tolist(), sizes=(64, 128, 256), n_test=50, more=100_000, what=what)


def test_repeated_texts_fit_80_columns():
    """howmuch and labels with long, wide and odd names fit, name their files, and keep every figure."""
    folder = Path("models") / "x"
    photos = [Path("가" * 300 + ".jpg"), Path("a\n\x1b[31m" + "b" * 200), Path("c.jpg")]
    labels = rank_labels(
        np.array([[0.1, 0.9], [0.8, 0.2], [0.6, 0.4]]),
        np.array([0, 1, 0]),
        own_when_trained=np.array([0.9, np.nan, 0.9]),
        forgotten=np.array([12.5, 0, 1]),
        classes=("나" * 80, "b" * 80),
    )
    texts = [
        printed(
            learning_curve_text(
                curve("test error"), curve("test loss"), answer=["It rose."], notes=["A."], folder=folder
            )
        ),
        printed(label_issues_text(labels, paths=photos, answer=["One."], notes=["A."], folder=folder)),
    ]
    for text in texts:
        assert max(cell_len(line) for line in text.splitlines()) <= 80
        assert "\x1b" not in text
    assert "100256 (extrapolated)" in texts[0]
    assert "models/x/report.html" in texts[0]
    assert "models/x/sheet.png" in texts[1]
    assert "12.5" in texts[1]


def test_what_was_changed_in_a_recipe_is_shown(make_run, overfitting):
    """The box and the list of runs name the recipe with what was changed in it, in 80 columns."""
    run = make_run(overfitting).summary
    assert "Recipe:" not in printed(run_text(run))
    changed = run.model_copy(update={"overrides": ("head.normalization=before_activation", "head.l2=0.1")})
    wanted = "plain + head.normalization=before_activation, head.l2=0.1"
    for text in (printed(run_text(changed)), listed(changed)):
        assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert f"Recipe: {wanted}." in " ".join(printed(run_text(changed)).replace("│", " ").split())
    assert "· pets · plain" in listed(changed)


def test_given_names_stay_on_one_line(make_run, overfitting):
    """A name that imgreg gives by itself can be copied from a list of 80 columns."""
    name = "20261121-093015-compare-regularized"
    assert name in listed(make_run(overfitting, name=name).summary)


def test_names_are_not_markup_and_send_no_codes(odd_runs):
    """A name with rich's markup, a surrogate, a line end or an escape code is shown, not obeyed."""
    for text in (printed(run_text(odd_runs[2].summary)), listed(odd_runs[2].summary)):
        assert "[b]\\udce9\\n\\x1b" in text
        assert "\x1b" not in text


def test_comparison_has_the_answer_the_figures_and_the_warnings(make_run, overfitting, healthy):
    """The answer comes first, then a line a run with its share of the control's gap, then the warnings."""
    runs = [make_run(overfitting), make_run(healthy, name="regularized")]
    comparison = compared(runs, warnings=("They have different seeds: 0 and 1.",), effects=())
    text, rows = printed(comparison_text(comparison)), comparison.rows
    assert text.startswith("Validation loss of the kept heads: plain")
    line = next(line for line in text.splitlines() if line.startswith("regularized  "))
    assert line.split()[1:] == [
        str(rows[1].kept_epoch),
        f"{rows[1].kept_val_loss:.3f}",
        f"{rows[1].kept_val_accuracy:.1%}",
        f"{rows[1].last_val_loss:.3f}",
        f"{rows[1].last_val_accuracy:.1%}",
        f"{rows[1].last_train_loss:.3f}",
        f"{rows[1].gap_kept:.3f}",
        f"{rows[1].gap_last:.3f}",
        f"{rows[1].gap_share:.0%}",
    ]
    assert "different seeds: 0 and 1" in text


def test_comparison_names_each_runs_own_verdict(make_run, overfitting, plant):
    """A run that stopped too early is named beside what the comparison says of it."""
    falling = plant(np.linspace(0.69, 0.3, 12), np.linspace(0.69, 0.35, 12))
    runs = [make_run(overfitting), make_run(falling, name="short")]
    runs[1] = replace(runs[1], summary=runs[1].summary.model_copy(update={"recipe": "low_lr"}))
    flat = " ".join(printed(comparison_text(compared(runs))).split())
    assert "plain: Overfitting from epoch" in flat
    assert "low_lr: Stopped too early: the validation loss was still falling" in flat


def test_comparison_says_where_the_report_is(make_run, overfitting, tmp_path):
    """The last line is the report's path."""
    text = printed(comparison_text(comparison_of([make_run(overfitting)], folder=tmp_path)), width=200)
    assert text.splitlines()[-1] == f"Report: {tmp_path / 'report.html'}"
