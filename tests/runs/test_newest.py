"""newest.py: the run that predict answers by when none is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imgreg.errors import UsageError
from imgreg.runs.newest import newest_run


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
