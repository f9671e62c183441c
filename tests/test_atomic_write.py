"""atomic_write.py: a file is what it was or what it should be, never half of it."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from imgreg import atomic_write as whole
from imgreg.atomic_write import left_behind, write_atomic


def test_a_file_is_replaced_and_nothing_else_appears(tmp_path: Path) -> None:
    """The parts follow one another; no temporary file stays."""
    for parts in ((b"old",), (b"new, ", b"and longer")):
        write_atomic(tmp_path / "file", *parts)
        assert (tmp_path / "file").read_bytes() == b"".join(parts)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_refuses_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If flushing fails, the old bytes stay and the half-written file is gone."""
    write_atomic(tmp_path / "file", b"old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(tmp_path / "file", b"new")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"old")]


def test_only_what_dead_processes_left_is_found(tmp_path: Path) -> None:
    """By the process number in the name; names of others' making are let be."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    for name in (f".a.{gone.pid}-1.partial", f".b.{os.getpid()}-1.partial", ".c.x-1.partial", "d"):
        (tmp_path / name).touch()
    assert [path.name for path in left_behind(tmp_path)] == [f".a.{gone.pid}-1.partial"]
    assert left_behind(tmp_path, "b") == []


def test_a_file_is_whole_where_folders_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: opening a folder is refused, and files are flushed by a descriptor that may write."""
    opens, flushed = os.open, []

    def refusing(path: Path, flags: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(13, "Permission denied", str(path))
        flushed.append(flags & os.O_ACCMODE)
        return opens(path, flags)

    monkeypatch.setattr(whole, "WINDOWS", True)
    monkeypatch.setattr(os, "open", refusing)
    write_atomic(tmp_path / "file", b"new")
    whole.flush(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert flushed == [os.O_RDWR]


def test_no_process_is_signalled_where_that_would_interrupt_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Windows os.kill(pid, 0) sends Ctrl-C: there a half-written file is left behind once it is an hour old."""

    def never(_pid: int, _signal: int) -> None:
        raise AssertionError("a process was signalled")

    monkeypatch.setattr(whole, "WINDOWS", True)
    monkeypatch.setattr(os, "kill", never)
    for name, age in ((".old.1-1.partial", 3700), (".new.1-1.partial", 0)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    assert [path.name for path in left_behind(tmp_path)] == [".old.1-1.partial"]
