"""The documentation names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imgreg.analysis.compare import ComparisonRow
from imgreg.api.prediction import Prediction
from imgreg.cli import COMMANDS
from imgreg.recipes import recipe_names
from imgreg.runs.summary import CalibrationScores, RunSummary, Scores

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "README.ko.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_every_json_key_is_documented() -> None:
    """docs/json.md names each key of a run's, a comparison row's and a prediction's document."""
    text = (ROOT / "docs" / "json.md").read_text(encoding="utf-8")
    wanted = {*RunSummary.model_fields, *Scores.model_fields, *ComparisonRow.model_fields, "temperature"}
    wanted |= {name for name in Prediction.__dataclass_fields__ if name != "path"} | {"abstained", "unlike_training"}
    assert "temperature" in CalibrationScores.model_fields
    assert {name for name in wanted if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_links_exist(page: Path) -> None:
    """Each `imgreg COMMAND` is a command, and each relative link leads to a file."""
    if page.name == "log.md":  # a record: it names what there was
        return
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^    |`)imgreg ([a-z][a-z-]+)", text, re.MULTILINE))
    assert named <= set(COMMANDS)
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        generated = link.startswith("reference/")
        assert generated or (page.parent / link).exists(), link


def test_every_recipe_says_where_it_comes_from() -> None:
    """The recipes page is made of `source` and `expect`: none is empty."""
    from imgreg.recipes import load_recipe

    assert [name for name in recipe_names() if not (load_recipe(name).source and load_recipe(name).expect)] == []
