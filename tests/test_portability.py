"""What Linux has and other systems lack, taken away: each place that would rely on it has another way.

Photo readers without fork server and resource limits stand in photos/test_workers.py, folder flushes and signal 0 in
test_whole.py, change times in photos/test_known.py.
"""

from __future__ import annotations

import csv
import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from conftest import Trained, imgreg, paint_set
from imgreg import cli
from imgreg.api import explain
from imgreg.data.index import PhotoIndex, Skipped
from imgreg.errors import UsageError
from imgreg.features.cache import FeatureCache
from imgreg.runs import names


@pytest.mark.parametrize("name", ["a:b", "a\\b", "a?", "a*", "<a>", "a|b", 'a"b', "a.", "a ", "NUL", "com1.x", "Con"])
def test_names_that_windows_cannot_have(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """They are a usage error there, and names like any other elsewhere."""
    monkeypatch.setattr(names, "WINDOWS", False)
    assert names.checked_name(name) == name
    monkeypatch.setattr(names, "WINDOWS", True)
    with pytest.raises(UsageError, match="on Windows"):
        names.checked_name(name)
    assert names.checked_name("first try.2 (console)") == "first try.2 (console)"


def test_names_that_imgreg_gives_are_names_on_windows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The name of a run that is not named has no colon in its time."""
    monkeypatch.setattr(names, "WINDOWS", True)
    name = names.unused_name(tmp_path, "regularized")
    assert names.checked_name(name) == name


def test_records_name_photos_with_slashes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """split.csv of a run made on Windows leads to the photos elsewhere too."""
    index = PhotoIndex(tmp_path, (), (), ("a", "b"))
    monkeypatch.setattr(os.path, "relpath", lambda path, start: "cats\\deep\\1.jpg")
    monkeypatch.setattr(os, "sep", "\\")
    assert index.relative(Skipped(tmp_path / "cats" / "1.jpg", "damaged")) == "cats/deep/1.jpg"


def test_a_manifest_on_another_drive_has_whole_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no path leads from the manifest to the photos, `check --fix` writes where they are."""
    data = paint_set(tmp_path / "data", n_each=3)
    relpath = os.path.relpath

    def two_drives(path: str | Path, start: str | Path = ".") -> str:
        if Path(start).name == "drive":
            raise ValueError("path is on mount 'D:', start on mount 'C:'")
        return relpath(path, start)

    monkeypatch.setattr(os.path, "relpath", two_drives)
    (tmp_path / "drive").mkdir()
    done = imgreg("check", data, "--fix", tmp_path / "drive" / "clean.csv")
    assert done.code == 0, done.err
    with (tmp_path / "drive" / "clean.csv").open() as lines:
        assert all(Path(row["path"]).is_absolute() and Path(row["path"]).is_file() for row in csv.DictReader(lines))


def test_a_block_that_another_process_reads_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Windows does not remove an open file: the cache keeps its entry, and stays larger than asked for."""
    with FeatureCache(tmp_path, say=print) as cache:
        cache.write(["a"], np.zeros((1, 1, 1, 8), np.float16))

    def refused(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "in use", str(self))

    monkeypatch.setattr(Path, "unlink", refused)
    with FeatureCache(tmp_path, say=print, limit_bytes=1) as cache:
        cache.shrink()
        assert cache.contents().n_blocks == 1
        assert cache.missing(["a"]) == set()


def test_the_same_block_may_be_written_twice(tmp_path: Path) -> None:
    """Two commands that compute the same features do not stop each other: the later file replaces the first."""
    for _ in range(2):
        with FeatureCache(tmp_path, say=print) as cache:
            cache.write(["a"], np.zeros((1, 1, 1, 8), np.float16))
            assert cache.missing(["a"]) == set()


def test_long_names_are_cut_between_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """explain's files have names that fit, on systems that count bytes and on those that count characters."""
    name = "사진" * 150
    assert len(os.fsencode(explain._short(name))) <= 200
    monkeypatch.setattr(explain, "WINDOWS", True)
    assert explain._short(name) == name[:100]


def test_a_reader_that_has_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows reports a closed pipe as an invalid argument; a file with that error is one."""
    invalid = OSError(errno.EINVAL, "Invalid argument")
    assert cli._reader_has_gone(BrokenPipeError())
    assert not cli._reader_has_gone(invalid)
    monkeypatch.setattr(cli, "WINDOWS", True)
    assert cli._reader_has_gone(invalid)
    assert not cli._reader_has_gone(OSError(errno.EINVAL, "Invalid argument", "x.jpg"))


def test_a_code_page_that_lacks_a_character_is_no_error(trained: Trained) -> None:
    """Output into a pipe with Windows' Western code page: what it lacks is written out."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import imgreg.cli as c; c.WINDOWS = True; c.main()",
            *("predict", "사진.jpg"),
            "--run",
            trained.folder,
        ],
        env=os.environ | {"PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 3
    assert b"\\uc0ac\\uc9c4.jpg" in done.stderr


def test_photos_are_read_where_memory_is_limited_already() -> None:
    """Under `ulimit -v` a reader keeps to the smaller of the two bounds, instead of not starting."""
    resource = pytest.importorskip("resource", reason="needs a system with resource limits")
    code = (
        "from hostile import behave, given_up; from imgreg.data.isolated_reading import in_workers; "
        "print(*in_workers(behave, ['a', 'b'], failed=given_up))"
    )
    places = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    room = 1_500 * 2**20
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": places},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (room, room)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "a b\n"), done.stderr
