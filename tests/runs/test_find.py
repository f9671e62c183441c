"""find.py: which run is meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imgreg.errors import UsageError
from imgreg.runs.find import find_folder, find_run, newest_run


def run_of(models: Path, name: str, *, created: object) -> Path:
    folder = models / name
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    (folder / "metrics.json").write_text(json.dumps({"created": created}))
    return folder


def test_the_newest_by_its_own_clock(tmp_path: Path) -> None:
    """Time of making decides, not the name nor the order on disk; half-made and unreadable ones are let be."""
    newest = run_of(tmp_path, "a", created="2026-11-21T10:00:00.000+00:00")
    run_of(tmp_path, "b", created="2026-11-20T10:00:00.000+00:00")
    run_of(tmp_path, ".c", created="2026-11-22T10:00:00.000+00:00")
    run_of(tmp_path, "d", created=5)
    (run_of(tmp_path, "e", created="2026-11-22T10:00:00.000+00:00") / "model.json").unlink()
    (tmp_path / "f").mkdir()
    (tmp_path / "file").write_text("")
    assert newest_run(tmp_path) == newest


def test_no_run_yet(tmp_path: Path) -> None:
    """Without runs the newest is an error that says how to get one."""
    with pytest.raises(UsageError, match="imgreg train"):
        newest_run(tmp_path / "models")


def test_a_run_by_name_path_or_last(tmp_path: Path) -> None:
    """A name under models comes before a folder of that name elsewhere; `last` is the newest, unless a run has it."""
    models = tmp_path / "models"
    models.mkdir()
    run = run_of(models, "mine", created="2026-11-20T10:00:00.000+00:00")
    newest = run_of(models, "b", created="2026-11-21T10:00:00.000+00:00")
    assert find_run(Path("mine"), models=models) == run
    assert find_run(run, models=Path("elsewhere")) == run
    assert find_run(Path("last"), models=models) == newest
    last = run_of(models, "last", created="2026-11-19T10:00:00.000+00:00")
    assert find_run(Path("last"), models=models) == last


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    """Both places are named, and the run that was probably meant."""
    run_of(tmp_path, "first-try", created="2026-11-20T10:00:00.000+00:00")
    with pytest.raises(
        UsageError, match="no run 'first-tyr': found neither .* nor first-tyr. Did you mean 'first-try'"
    ):
        find_run(Path("first-tyr"), models=tmp_path)


def test_a_comparison_names_its_runs(tmp_path: Path) -> None:
    """A comparison or a study is no run; its report can be found all the same."""
    both, ranking = tmp_path / "both", tmp_path / "ranking"
    for folder, document in ((both, "comparison"), (ranking, "study")):
        folder.mkdir()
        (folder / f"{document}.json").write_text(json.dumps({"runs": [{"name": "both-a"}, {"name": "both-b"}]}))
        assert find_folder(Path(folder.name), models=tmp_path) == folder
    with pytest.raises(UsageError, match="both is a comparison. Choose one of its runs: both-a, both-b"):
        find_run(Path("both"), models=tmp_path)
    with pytest.raises(UsageError, match="ranking holds a study"):
        find_run(Path("ranking"), models=tmp_path)
    (both / "comparison.json").write_text("[")
    with pytest.raises(UsageError, match="`imgreg runs` lists them"):
        find_run(both, models=Path("elsewhere"))
