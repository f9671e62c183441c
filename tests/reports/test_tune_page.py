"""The report of a search, and what the terminal says of it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from imgreg.analysis.tune import NestedScore, OuterScore, RecipeSearch, SearchTrial, nested_score, tune_answer
from imgreg.reports.terminal.tune import tune_text
from imgreg.reports.tune import Dimension, tune_report

ROWS: list[tuple[str, float | None, float, tuple[int, ...]]] = [
    ("complete", 0.50, 0.7, (256,)),
    ("complete", 0.42, 0.3, (256, 64)),
    ("dropped", 0.61, 0.0, (64,)),
    ("diverged", None, 0.9, (64,)),
]
TRIALS = [
    SearchTrial.model_validate(
        {
            "number": n,
            "values": {"head.dropout": dropout, "head.units": units},
            "losses": (),
            "loss": loss,
            "status": status,
        }
    )
    for n, (status, loss, dropout, units) in enumerate(ROWS)
]
DIMENSIONS = [Dimension("head.dropout", high=0.9), Dimension("head.units", labels=("[64]", "[256]", "[256, 64]"))]
CHANGES = ("dropout 0.3 instead of 0.7", "units [256, 64] instead of [256]")


@pytest.fixture(scope="module")
def outer() -> list[OuterScore]:
    about: dict[str, Any] = {"n_train": 200, "n_test": 100, "n_trials": 4, "picked": 1, "values": {}}
    figures: dict[str, float] = {"inner_default_loss": 0.5, "accuracy": 0.85, "default_accuracy": 0.8}
    return [
        OuterScore(number=n, inner_loss=0.42, loss=0.46 + n / 100, default_loss=0.49, **about, **figures)
        for n in (1, 2, 3)
    ]


@pytest.fixture(scope="module")
def nested(outer: list[OuterScore]) -> NestedScore:
    return nested_score(outer, default="regularized")


def report(folder: Path, nested: NestedScore, outer: list[OuterScore], importances: dict[str, float]) -> str:
    search = RecipeSearch(
        trials=TRIALS,
        nested=nested,
        outer_folds=outer,
        importances=importances,
        settings={"head.dropout": ("0.7", "0.3"), "head.units": ("[256]", "[256, 64]")},
        changes=CHANGES,
        answer=tune_answer(nested, changes=CHANGES),
        notes=["a note"],
        command="imgreg tune pets",
        train_command="imgreg train pets --recipe models/a/best.toml",
    )
    tune_report(search, dimensions=DIMENSIONS, folder=folder)
    return " ".join((folder / "report.html").read_text().split())


def test_the_page_tells_what_the_search_is_worth(tmp_path: Path, nested: NestedScore, outer: list[OuterScore]) -> None:
    """The answer, the outer folds, the recipe against the default, every trial's status, and the command to copy."""
    page = report(tmp_path, nested, outer, {"head.dropout": 0.8, "head.units": 0.2})
    assert "Not enough data to tell whether tuning helped" in page
    assert "<dt>optimism of the search</dt><dd>+0.070" in page
    assert "<td>0.490</td><td>-0.020</td>" in page
    assert "Changed: dropout 0.3 instead of 0.7, units [256, 64] instead of [256]." in page
    assert "<strong>[256, 64]</strong>" in page
    assert "imgreg train pets --recipe models/a/best.toml" in page
    assert "1 of 4 trials were dropped early" in page
    assert "Trial 2: dropped early, about 0.610, best so far 0.420" in page
    assert "With 4 trials this is a hint" in page
    assert {path.name for path in tmp_path.glob("*.png")} == {"progress.png", "settings.png", "importances.png"}


def test_few_trials_have_no_importances(tmp_path: Path, nested: NestedScore, outer: list[OuterScore]) -> None:
    """Nothing is drawn from nothing."""
    assert "Which settings mattered" not in report(tmp_path, nested, outer, {})
    assert not (tmp_path / "importances.png").exists()


def test_values_stand_where_the_range_or_the_choices_have_them() -> None:
    """A list from a JSON file is the choice that it was; what lies outside stands at the end."""
    assert DIMENSIONS[1].place([256, 64]) == DIMENSIONS[1].place((256, 64)) == 1.0
    assert Dimension("a", low=1e-4, high=1e-2, log=True).place(0.0) == 0.0
    assert Dimension("a", labels=("true", "false")).place(False) == 1.0


def test_the_terminal_ends_with_the_command(nested: NestedScore, outer: list[OuterScore]) -> None:
    """In 80 columns; the command is one line, however long."""
    command = "imgreg train pets --recipe " + "x" * 90 + "/best.toml"
    text, folder = io.StringIO(), Path("models/a")
    shown = tune_text(
        *(nested,),
        outer=outer,
        answer=("Answer.",),
        notes=(),
        folder=folder,
        run=Path("models/a-run"),
        train_command=command,
    )
    Console(file=text, width=80, no_color=True).print(shown, crop=False)
    lines = text.getvalue().splitlines()
    assert lines[-1] == f"Recipe: {command}"
    assert all(len(line) <= 80 for line in lines[:-1])
    assert "1 of 4" in text.getvalue()
    assert "models/a-run" in text.getvalue()
