"""ray_cluster.py, as far as it needs no Ray: which block comes next, and what it says where there is no cluster."""

from __future__ import annotations

import sys
import time
from collections import deque
from pathlib import Path

import pytest

from conftest import imgreg
from imgreg.errors import DatasetError, MachineError, PhotoError, UsageError
from imgreg.progress import Watcher
from imgreg.training.actor_calls import AWAY_SECONDS, _next_item
from imgreg.training.ray_cluster import (
    RayCluster,
    _refuse_not_shared,
    _refuse_silent,
    _runtime_env,
)


def test_an_idle_worker_takes_what_waits_elsewhere() -> None:
    """New blocks first, two for each; then those that wait at another worker; one at work only after some time, and
    each once more at most."""
    now, before = time.monotonic(), time.monotonic() - 2 * AWAY_SECONDS
    assert _next_item(0, deque([5, 6]), [(0, 4, now)]) == 5
    assert _next_item(0, deque([5]), [(0, 3, now), (0, 4, now)]) is None
    assert _next_item(1, deque(), [(0, 3, now), (0, 4, now)]) == 4
    assert _next_item(1, deque(), [(0, 4, now)]) is None
    assert _next_item(1, deque(), [(0, 4, before)]) == 4
    assert _next_item(1, deque(), [(0, 3, before), (0, 4, now), (1, 4, now)]) is None
    assert _next_item(2, deque(), [(0, 3, now), (0, 4, now), (1, 4, now)]) is None
    assert _next_item(2, deque(), [(0, 3, before), (0, 4, now), (1, 4, now)]) == 3
    assert _next_item(2, deque(), []) is None


def test_a_file_that_another_machine_lacks_is_named(tmp_path: Path) -> None:
    """One that is here; a file that is nowhere, or damaged, and an object, are left out as always."""
    (tmp_path / "a.jpg").touch()
    missing, here = PhotoError("cannot be opened", code="missing"), str(tmp_path / "a.jpg")
    with pytest.raises(DatasetError, match=r"a\.jpg: not found on another machine .* shared file system"):
        _refuse_not_shared(here, missing)
    _refuse_not_shared(here, PhotoError("damaged"))
    _refuse_not_shared(str(tmp_path / "b.jpg"), missing)
    _refuse_not_shared("s3://pets/a.jpg", missing)


def test_no_secret_is_passed_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where stores are, and what the bits depend on; a cache in a store, but no folder, which has its place in each
    call."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AZURE_STORAGE_KEY"):
        monkeypatch.setenv(name, "region" if name == "AWS_REGION" else "secret")
    passed = _runtime_env()["env_vars"]
    assert passed.keys() >= {"ONEDNN_MAX_CPU_ISA", "AWS_REGION"}
    assert "IMGREG_CACHE" not in passed
    monkeypatch.setenv("IMGREG_CACHE", "s3://bucket/cache")
    passed = _runtime_env()["env_vars"]
    assert passed.keys() >= {"ONEDNN_MAX_CPU_ISA", "IMGREG_CACHE", "AWS_REGION"}
    assert "secret" not in passed.values()


def test_no_cluster_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that nobody listens on, an address that is none, and Ray that is not installed."""
    with pytest.raises(MachineError, match="127.0.0.1:9: no connection"):
        _refuse_silent("127.0.0.1:9")
    with pytest.raises(UsageError, match="expected auto, HOST:PORT or ray://HOST:PORT"):
        _refuse_silent("somewhere")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MachineError, match=r"pip install 'imgreg\[ray\]'"), RayCluster("auto", watcher=Watcher()):
        pass
    done = imgreg("extract", tmp_path, "--ray", "auto")
    assert (done.code, "imgreg[ray]" in done.err) == (5, True)
