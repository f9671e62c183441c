"""tools/faults: a training that is killed at any moment loses nothing, and ends as if nobody had killed it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import TRAIN_ARGUMENTS, Trained, imgreg, tree
from imgreg.heads import checkpoint as checkpoints
from imgreg.runs.history import Epoch
from imgreg.training import fit

resource = pytest.importorskip("resource", reason="tools/faults needs a system with fork and resource limits")
FAULTS = Path(__file__).parents[1] / "tools" / "faults"
KILLS = int(os.environ.get("IMGREG_KILLS", "16"))


def test_killed_at_random_it_loses_nothing(trained: Trained, own_cache: Path) -> None:
    """kill -9 sixteen times (IMGREG_KILLS for more) on the same run: photos and older runs stay as they
    are, every run that is to be seen is whole, and what goes on ends with the bytes of a run left alone."""
    done = subprocess.run(
        [sys.executable, FAULTS, "kills", "--cases", str(KILLS), "--within", "0.6", "--base", own_cache],
        capture_output=True,
        text=True,
        timeout=60 + 20 * KILLS,
        check=False,
    )
    found = json.loads(done.stdout or "{}")
    assert (done.returncode, found.get("cases"), found.get("hangs"), found.get("seen")) == (0, KILLS, 0, []), (
        done.stderr
    )


def test_an_interrupted_training_says_how_to_go_on_and_does(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the head trains: exit 130 and the command to go on with, which trains the epochs that are left."""
    shown = fit._shown

    def interrupted(*arguments: Any, **named: Any) -> Callable[[Epoch], None]:
        show = shown(*arguments, **named)

        def on_epoch(row: Epoch) -> None:
            if row.epoch == 5:
                signal.raise_signal(signal.SIGINT)
            show(row)

        return on_epoch

    arguments = ["train", trained.data, *TRAIN_ARGUMENTS, "--seed", "5", "--models", tmp_path / "m", "--name", "cut"]
    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "FIRST_SECONDS", 0)
        patched.setattr(checkpoints, "WRITING_SHARE", 1)
        patched.setattr(fit, "_shown", interrupted)
        done = imgreg(*arguments)
    assert done.code == 130, done.err
    last = done.err.splitlines()[-1]
    assert "To resume, run the same command again: imgreg train" in last
    assert last.endswith("--name cut")
    assert [path.name for path in (tmp_path / "m").iterdir()] == [".locks"]
    assert "interrupted" in imgreg("cache", "show").out
    again = imgreg(*arguments, "--resume", "--json")
    assert again.code == 0, again.err
    assert "resuming an interrupted training after epoch 4 of 6" in again.err
    assert imgreg("cache", "show", "--json").json["interrupted"] == {"n_trainings": 0, "n_bytes": 0}
    anew = imgreg(*arguments[:-1], "anew", "--resume", "--json")
    assert "no interrupted training of these photos and settings was found" in anew.err
    for name in ("head.safetensors", "val_probabilities.npy", "train_true_class.npy"):
        assert (tmp_path / "m" / "cut" / name).read_bytes() == (tmp_path / "m" / "anew" / name).read_bytes()


def test_a_full_disk_ends_with_five_and_leaves_old_runs_alone(trained: Trained) -> None:
    """Where no file may grow beyond 200 kB: exit code 5, the path, and nothing of the new run; nothing old changes."""
    before, room = tree(trained.folder), 200_000
    arguments = ["train", trained.data, *TRAIN_ARGUMENTS, "--models", trained.folder.parent, "--name", "full", "-q"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        done = imgreg(*arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert done.code == 5, done.err
    assert str(trained.folder.parent) in done.err or os.environ["IMGREG_CACHE"] in done.err
    assert "File too large" in done.err or "disk I/O error" in done.err  # SQLite's word for it
    assert not (trained.folder.parent / "full").exists()
    assert not list(trained.folder.parent.glob(".full*.partial"))
    assert tree(trained.folder) == before
