"""Work on hostile files: each is bounded by itself, and nothing else is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from conftest import paint_set
from hostile import behave, behave_wrongly, given_up
from imgreg.data import isolated_reading as workers
from imgreg.data.index import index_photos
from imgreg.data.isolated_reading import in_workers, kept_workers
from imgreg.errors import PhotoError


def test_a_hostile_file_costs_itself_alone(monkeypatch, capfd) -> None:
    """A hang, two ways to die and a flood of memory between good files: those come, in order, and the others have their
    codes; what a C library says does not reach the terminal."""
    monkeypatch.setattr(workers, "SECONDS", 1.0)
    monkeypatch.setattr(workers, "AGAIN_SECONDS", 2.0)
    items = ["a", "hangs", "b", "crashes", "c", "leaves", "eats", "talks", *(f"d{i}" for i in range(20))]
    started = time.monotonic()
    found = list(in_workers(behave, items, failed=given_up))
    assert found == [
        *("a", "hangs: too-slow", "b", "crashes: damaged", "c", "leaves: damaged", "eats: out-of-memory", "talks"),
        *(f"d{i}" for i in range(20)),
    ]
    assert time.monotonic() - started < 60  # not the hour that one of them asked for
    assert "remark" not in capfd.readouterr().err


def test_kept_processes_take_items_from_several_threads(monkeypatch) -> None:
    """A file that dies, hangs or floods, asked for beside good ones, costs itself alone; the processes go on."""
    monkeypatch.setattr(workers, "SECONDS", 1.0)
    monkeypatch.setattr(workers, "AGAIN_SECONDS", 2.0)
    with kept_workers("hostile") as work, ThreadPoolExecutor(4) as pool:

        def answer(what: str) -> str:
            try:
                return work(behave, what)
            except PhotoError as error:
                return given_up(what, error)

        found = list(pool.map(answer, ["a", "crashes", "b", "eats", "c", "hangs", "d"]))
    assert found == ["a", "crashes: damaged", "b", "eats: out-of-memory", "c", "hangs: too-slow", "d"]


def test_what_earlier_files_left_in_a_process_decides_nothing() -> None:
    """Files that each leave memory behind are all read: one that finds no room is tried again in a fresh process."""
    assert list(in_workers(behave, ["leaks"] * 8, failed=given_up)) == ["leaks"] * 8


def test_a_busy_machine_decides_nothing(monkeypatch) -> None:
    """What takes too long beside others has more time alone."""
    monkeypatch.setattr(workers, "SECONDS", 0.5)
    assert list(in_workers(behave, ["a", "dawdles", "b"], failed=given_up)) == ["a", "dawdles", "b"]


WITHOUT_POSIX = """
import multiprocessing.context as c, sys
del c.ForkServerContext, c.ForkServerProcess
sys.modules["resource"] = None
"""


def test_photos_are_read_without_fork_server_and_resource_limits(tmp_path: Path) -> None:
    """As on Windows: processes are spawned and have no bound on memory; a hostile file still costs itself alone."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_POSIX)
    code = (
        "from hostile import behave, given_up; from imgreg.data import isolated_reading as workers; "
        "print(workers.START, *workers.in_workers(behave, ['a', 'crashes', 'b', 'leaves', 'c'], failed=given_up))"
    )
    places = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": places},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "Spawn a crashes: damaged b leaves: damaged c\n"), done.stderr


def test_nothing_to_do_starts_nothing() -> None:
    """No items, no processes."""
    assert list(in_workers(behave, [], failed=given_up)) == []


def test_an_error_of_ours_comes_through() -> None:
    """What the work itself raises is a bug, not a bad file."""
    with pytest.raises(TypeError):
        list(in_workers(behave_wrongly, ["a"], failed=given_up))


def mutated(data: bytes, draw: np.random.Generator) -> bytes:
    """Some bytes changed, a piece cut out, doubled or left off."""
    changed = bytearray(data)
    for _ in range(draw.integers(1, 30)):
        changed[draw.integers(len(changed))] = draw.integers(256)
    start, length = int(draw.integers(len(changed))), int(draw.integers(1, 400))
    way = draw.integers(4)
    if way == 0:
        del changed[start : start + length]
    elif way == 1:
        changed[start:start] = changed[start : start + length]
    elif way == 2:
        del changed[start:]
    return bytes(changed)


N_MUTATIONS = int(os.environ.get("IMGREG_MUTATIONS", "200"))  # 2,000 on demand


def test_mutated_photos_neither_crash_nor_hang(tmp_path: Path) -> None:
    """Seeded damage to good photos of six formats: each file is read, or left out with a code, and all are counted."""
    from PIL import Image

    paint_set(tmp_path / "data", n_each=1)
    draw = np.random.default_rng(7)
    whole = Image.open(tmp_path / "data" / "cold" / "c00.jpg")
    for number in range(N_MUTATIONS):
        kind = ("jpg", "png", "webp", "gif", "tif", "bmp")[number % 6]
        path = tmp_path / "data" / "cold" / f"m{number:05}.{kind}"
        whole.save(path)
        path.write_bytes(mutated(path.read_bytes(), draw))
    index = index_photos(tmp_path / "data", max_bad=1)
    assert len(index.photos) + len(index.skipped) == N_MUTATIONS + 2
    assert {one.code for one in index.skipped} <= {
        "unsupported",
        "truncated",
        "damaged",
        "too-large",
        "out-of-memory",
        "empty",
    }
    assert len(index.skipped) > N_MUTATIONS / 4


def test_a_script_that_uses_imgreg_is_not_run_again(tmp_path: Path) -> None:
    """A script without a guard around its main part, and one from stdin, index photos: what they print comes once."""
    data = paint_set(tmp_path / "data", n_each=2)
    script = (
        "from pathlib import Path; from imgreg.data.index import index_photos; "
        f"print(len(index_photos(Path({str(data)!r}), max_bad=0).photos))"
    )
    (tmp_path / "script.py").write_text(script)
    for command, given in (([str(tmp_path / "script.py")], None), (["-"], script)):
        done = subprocess.run(
            [sys.executable, *command], input=given, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode, done.stdout) == (0, "4\n"), done.stderr
