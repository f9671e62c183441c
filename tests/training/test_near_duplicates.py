"""Pictures that are there several times with other bytes, before a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import blobs
from imgreg.config import Base, Photos
from imgreg.errors import MachineError
from imgreg.features import cache
from imgreg.progress import Watcher
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.dataset import prepare_dataset


def pairs(root: Path, *, seed: int) -> Path:
    """Four pictures in two classes, each also with other bytes."""
    for number in range(2):
        for k, label in enumerate(("dawn", "dusk")):
            for quality in (90, 80):
                blobs(root / label / f"{number}-{quality}.jpg", seed=seed + 2 * number + k, quality=quality)
    return root


def test_looking_for_them_keeps_to_the_users_cache_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the user gave the cache more room than usual, nothing of it goes for the sake of the look."""
    monkeypatch.setattr(cache, "DEFAULT_LIMIT_BYTES", 0)
    monkeypatch.setenv("IMGREG_CACHE", str(tmp_path / "cache"))
    sets = [pairs(tmp_path / "a", seed=0), pairs(tmp_path / "b", seed=50)]
    computed = []
    for data in (*sets, sets[0]):
        stages: list[str] = []
        watcher = Watcher(step=lambda stage, *_, into=stages: into.append(stage))
        base = Backbone(Base(weights="starter", image_size=64), watcher=watcher)
        prepare_dataset(data, Photos(), base=base, session=Session(cache_bytes=10**9, watcher=watcher))
        computed.append("computing features" in stages)
    assert computed == [True, True, False]


def test_a_base_settles_when_it_is_first_needed(tmp_path: Path) -> None:
    """Missing weights are reported when features are needed; a set without look-alikes never asks for them."""
    base = Backbone(Base(weights=str(tmp_path / "none.safetensors")), watcher=Watcher())
    for number, label in enumerate(("dawn", "dusk") * 4):
        blobs(tmp_path / "different" / label / f"{number}.jpg", seed=200 + number)
    assert prepare_dataset(tmp_path / "different", Photos(), base=base, session=Session()).index.classes == (
        "dawn",
        "dusk",
    )
    with pytest.raises(MachineError, match="not a file"):
        prepare_dataset(pairs(tmp_path / "alike", seed=0), Photos(), base=base, session=Session())
