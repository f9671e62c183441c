"""imgreg cache, --cache-size and --stored, as a user types them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from conftest import TRAIN_ARGUMENTS, Trained, imgreg


@pytest.fixture(scope="module")
def filled(trained: Trained, own_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that one training has filled; the exported base is a copy."""
    root = tmp_path_factory.mktemp("filled")
    shutil.copytree(own_cache / "base", root / "cache" / "base")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMGREG_CACHE", str(root / "cache"))
        done = imgreg(
            "train", trained.data, *TRAIN_ARGUMENTS, "--models", root / "models", "--sanity-baselines", "none", "-q"
        )
    assert done.code == 0, done.err
    return root / "cache"


@pytest.fixture
def used(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The filled cache, a copy for each test."""
    folder = tmp_path / "cache"
    shutil.copytree(filled, folder)
    monkeypatch.setenv("IMGREG_CACHE", str(folder))
    return folder


def test_show_counts_what_train_has_kept(used: Path, trained: Trained) -> None:
    """Every view of the run, in bytes, and the exported base; for people and for machines."""
    found = imgreg("cache", "show", "--json").json
    assert found["folder"] == str(used)
    assert found["features"]["n_features"] == trained.document["features"]["n_computed"]
    assert found["features"]["n_bytes"] == sum(path.stat().st_size for path in (used / "features").glob("*.npy"))
    assert found["bases"][0]["n_bytes"] > 50_000_000
    shown = imgreg("cache", "show")
    assert str(used) in shown.out
    assert f"{found['features']['n_features']} views" in shown.out


def test_verify_finds_a_flipped_bit_and_train_mends_it(used: Path, trained: Trained, tmp_path: Path) -> None:
    """Exit 0 on a whole cache; 4 and a line for a damaged block; the next run computes its features again."""
    assert imgreg("cache", "verify").code == 0
    block = min((used / "features").glob("*.npy"))
    data = bytearray(block.read_bytes())
    data[-1] ^= 1
    block.write_bytes(data)
    done = imgreg("cache", "verify", "--json")
    assert (done.code, done.json["features"]["n_damaged"]) == (4, 1)
    assert "damaged" in done.err
    assert imgreg("cache", "verify").code == 0
    again = imgreg("train", trained.data, *TRAIN_ARGUMENTS, "--models", tmp_path / "models", "--json").json
    assert 0 < again["features"]["n_computed"] < trained.document["features"]["n_computed"]
    assert again["best"] == trained.document["best"]


def test_verify_finds_a_damaged_base(used: Path) -> None:
    """A truncated base is removed and reported."""
    arrays = min((used / "base").glob("*/base.bin"))
    arrays.write_bytes(arrays.read_bytes()[:1000])
    done = imgreg("cache", "verify")
    assert done.code == 4
    assert str(arrays.parent) in done.err
    assert not arrays.parent.exists()


def test_clear_frees_the_disk(used: Path) -> None:
    """Nothing of size is left, and the command says how much it was."""
    done = imgreg("cache", "clear")
    assert done.code == 0
    assert "freed" in done.out
    assert sum(path.stat().st_size for path in used.rglob("*") if path.is_file()) < 200_000
    assert imgreg("cache", "show", "--json").json["features"]["n_features"] == 0


def test_cache_size_is_kept_to(used: Path, trained: Trained, tmp_path: Path) -> None:
    """Another training with no room keeps its own features and lets the others go."""
    done = imgreg(
        *("train", trained.data, *TRAIN_ARGUMENTS, "--image-size", 32, "--cache-size", 0),
        *("--models", tmp_path / "models", "--json"),
    )
    assert done.code == 0, done.err
    kept = imgreg("cache", "show", "--json").json["features"]["n_features"]
    assert kept == done.json["features"]["n_computed"] > 0


def test_cache_size_on_finished_runs_is_refused(trained: Trained) -> None:
    """Comparing finished runs reads no features: the option would do nothing."""
    done = imgreg("compare", trained.folder, trained.folder, "--cache-size", 5)
    assert done.code == 2
    assert "--cache-size" in done.err


def test_pooled_storage_trains_predicts_and_takes_less_room(trained: Trained, tmp_path: Path) -> None:
    """--stored avg: a quarter of the features at 64 px, the same answers from train and predict, and one baseline, on
    the channel means."""
    done = imgreg(
        *("train", trained.data, *TRAIN_ARGUMENTS, "--stored", "avg", "--set", "head.pool=avg"),
        *("--models", tmp_path, "--name", "pooled", "--json"),
    )
    assert done.code == 0, done.err
    assert [one["name"] for one in done.json["baselines"]] == ["logistic-regression-means"]
    photo = next((trained.data / "warm").iterdir())
    answer = imgreg("predict", photo, "--run", tmp_path / "pooled", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["label"] in ("cold", "warm")


def test_pooled_storage_refuses_a_head_that_needs_the_map(trained: Trained, tmp_path: Path) -> None:
    """A flattening head cannot be trained on averages; the message says what to set."""
    done = imgreg("train", trained.data, *TRAIN_ARGUMENTS, "--stored", "avg", "--models", tmp_path)
    assert done.code == 2
    assert "head.pool=avg" in done.err
