"""whole.py: a file is what it was or what it should be, never half of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from imgreg.whole import left_behind, write_whole


def test_a_file_is_replaced_and_nothing_else_appears(tmp_path: Path) -> None:
    """The parts stand one after the other; no temporary file stays."""
    for parts in ((b"old",), (b"new, ", b"and longer")):
        write_whole(tmp_path / "file", *parts)
        assert (tmp_path / "file").read_bytes() == b"".join(parts)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_refuses_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where flushing fails the old bytes stand, and the half-written file is gone."""
    write_whole(tmp_path / "file", b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "file", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_only_what_dead_processes_left_is_found(tmp_path: Path) -> None:
    """By the process number in the name; names of others' making are let be."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    for name in (f".a.{gone.pid}-1.partial", f".b.{os.getpid()}-1.partial", ".c.x-1.partial", "d"):
        (tmp_path / name).touch()
    assert [path.name for path in left_behind(tmp_path)] == [f".a.{gone.pid}-1.partial"]
    assert left_behind(tmp_path, "b") == []
