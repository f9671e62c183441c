"""cache.py: what was written is what is read, or a message says otherwise."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imgreg.errors import MachineError
from imgreg.features.block_files import MAPPED_BLOCKS, WrittenBlock
from imgreg.features.cache import STRAY_SECONDS, CacheCheck, FeatureCache, feature_key

KEYS = [feature_key("photo", n) for n in range(10)]
FEATURES = np.random.default_rng(0).random((10, 2, 2, 8)).astype(np.float16)


def silent(line: str) -> None:
    raise AssertionError(f"unexpected: {line}")


def fill(folder: Path) -> None:
    with FeatureCache(folder, say=silent) as cache:
        cache.write(KEYS, FEATURES)


def test_features_come_back_by_key_in_the_order_asked(tmp_path: Path) -> None:
    """Another process's view of the cache gives each key its own features."""
    fill(tmp_path)
    with FeatureCache(tmp_path, say=silent) as cache:
        assert cache.missing([*KEYS, "other"]) == {"other"}
        np.testing.assert_array_equal(cache.read(KEYS[::-1]), FEATURES[::-1])


def test_any_flipped_bit_is_noticed_reported_and_set_aside(tmp_path: Path) -> None:
    """1,000 random single-bit flips: none gives a feature, each is reported, and what is written again is right."""
    draw = np.random.default_rng(1)
    fill(tmp_path)
    (block,) = (tmp_path / "features").glob("*.npy")
    whole = block.read_bytes()
    with FeatureCache(tmp_path, say=silent) as writer:
        for number in range(1000):
            data = bytearray(whole)
            data[draw.integers(len(data))] ^= 1 << draw.integers(8)
            block.write_bytes(data)
            writer.add(KEYS, WrittenBlock(block.stem, len(data)))
            said: list[str] = []
            with FeatureCache(tmp_path, say=said.append) as cache:
                assert cache.missing(KEYS) == set(KEYS)
                if number % 20 == 0:  # each waits for the disk
                    cache.write(KEYS, FEATURES)
                    np.testing.assert_array_equal(cache.read(KEYS), FEATURES)
            assert len(said) == 1
            assert "damaged" in said[0]
    assert list((tmp_path / "features" / "damaged").iterdir())


def test_a_block_that_is_computed_again_is_not_read_from_the_damaged_file(tmp_path: Path) -> None:
    """Blocks stay mapped from one training to the next; the damaged one has the same name, and lies elsewhere now."""
    fill(tmp_path)
    (block,) = (tmp_path / "features").glob("*.npy")
    with FeatureCache(tmp_path, say=lambda line: None) as cache:
        assert not cache.missing(KEYS)
        cache.read(KEYS)
        changed = block.stat().st_mtime_ns
        with block.open("r+b") as file:
            file.seek(-2, os.SEEK_END)
            file.write(b"??")
    with FeatureCache(tmp_path, say=lambda line: None) as cache:
        assert cache.missing(KEYS) == set(KEYS)
        cache.write(KEYS, FEATURES)
        os.utime(block, ns=(changed, changed))  # as on a disk with coarse times
        np.testing.assert_array_equal(cache.read(KEYS), FEATURES)


def test_a_block_that_is_gone_is_reported(tmp_path: Path) -> None:
    """A deleted block is missing, not an error."""
    fill(tmp_path)
    for block in (tmp_path / "features").glob("*.npy"):
        block.unlink()
    said: list[str] = []
    with FeatureCache(tmp_path, say=said.append) as cache:
        assert cache.missing(KEYS) == set(KEYS)
    assert len(said) == 1


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    """Over its limit the cache drops what was not read for longest, never what this process uses."""
    with FeatureCache(tmp_path, say=silent) as cache:
        for number in range(5):
            cache.write([f"{number}-{key}" for key in KEYS], FEATURES + np.float16(number))
            time.sleep(0.01)
    one = next((tmp_path / "features").glob("*.npy")).stat().st_size
    with FeatureCache(tmp_path, say=silent) as cache:
        assert not cache.missing([f"0-{KEYS[0]}"])
    with FeatureCache(tmp_path, say=silent, limit_bytes=2 * one) as cache:
        assert not cache.missing([f"3-{KEYS[0]}"])
        cache.shrink()
        held = {number for number in range(5) if not cache.missing([f"{number}-{KEYS[0]}"])}
    assert held == {0, 3}
    assert len(list((tmp_path / "features").glob("*.npy"))) == 2
    with FeatureCache(tmp_path, say=silent, limit_bytes=0, keep_seconds=3600) as cache:
        cache.shrink()
        assert not cache.missing([f"0-{KEYS[0]}", f"3-{KEYS[0]}"])  # another process may be reading them
    with FeatureCache(tmp_path, say=silent, limit_bytes=0) as cache:
        assert not cache.missing([f"3-{KEYS[0]}"])
        cache.release()
        cache.shrink()
        assert not cache.missing([f"3-{KEYS[0]}"])  # forgotten, but used since the cache was opened
        assert cache.missing([f"0-{KEYS[0]}"])


def write_some(folder: str, number: int) -> None:
    with FeatureCache(Path(folder), say=silent) as cache:
        for turn in range(5):
            cache.write([feature_key(number, turn, key) for key in KEYS], FEATURES + np.float16(number))


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    """Four processes fill one cache; nothing is lost or mixed up."""
    with ProcessPoolExecutor(4) as pool:
        list(pool.map(write_some, [str(tmp_path)] * 4, range(4)))
    with FeatureCache(tmp_path, say=silent) as cache:
        for number in range(4):
            keys = [feature_key(number, turn, key) for turn in range(5) for key in KEYS]
            assert not cache.missing(keys)
            np.testing.assert_array_equal(cache.read(keys), np.concatenate([FEATURES + np.float16(number)] * 5))


def test_a_folder_that_cannot_be_written_is_an_error_of_the_environment(tmp_path: Path) -> None:
    """A file in the cache's place is named, with the way out."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(MachineError, match="IMGREG_CACHE"):
        FeatureCache(tmp_path / "taken", say=silent)


def test_a_foreign_index_is_an_error_not_a_crash(tmp_path: Path) -> None:
    """An index file that is no database is refused with a message."""
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "index.sqlite").write_bytes(b"hello" * 1000)
    with pytest.raises(MachineError, match="cannot open the feature cache"):
        FeatureCache(tmp_path, say=silent)


def test_many_blocks_need_few_open_files(tmp_path: Path) -> None:
    """A training reads more blocks than a process may hold open."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    keys = [feature_key("many", n) for n in range(300)]
    with FeatureCache(tmp_path, say=silent) as cache:
        for number, key in enumerate(keys):
            cache.write([key], FEATURES[:1] + np.float16(number))
    in_use = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + MAPPED_BLOCKS + 32, hard))
    try:
        with FeatureCache(tmp_path, say=silent) as cache:
            assert not cache.missing(keys)
            assert cache.read(keys).shape == (300, 2, 2, 8)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_contents_are_counted(tmp_path: Path) -> None:
    """Features, blocks and bytes as they lie on disk; damaged blocks apart."""
    fill(tmp_path)
    with FeatureCache(tmp_path, say=silent) as cache:
        (block,) = (tmp_path / "features").glob("*.npy")
        found = cache.contents()
        assert (found.n_features, found.n_blocks, found.n_bytes) == (10, 1, block.stat().st_size)
        assert found.n_damaged == 0
        block.write_bytes(b"x")
    with FeatureCache(tmp_path, say=lambda line: None) as cache:
        assert cache.missing(KEYS)
        found = cache.contents()
        assert (found.n_features, found.n_damaged, found.damaged_bytes) == (0, 1, 1)


def test_verify_finds_what_is_damaged_gone_or_left_behind(tmp_path: Path) -> None:
    """Every block is checked; a killed process's files go once they are old, and not before."""
    with FeatureCache(tmp_path, say=silent) as cache:
        for number in range(4):
            cache.write([f"{number}-{key}" for key in KEYS], FEATURES + np.float16(number))
    folder = tmp_path / "features"
    damaged, gone, *_ = sorted(folder.glob("*.npy"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    gone.unlink()
    for name, age in ((".new-old", 2 * STRAY_SECONDS), (".new-fresh", 0), ("0123.npy", 2 * STRAY_SECONDS)):
        (folder / name).write_bytes(b"half")
        os.utime(folder / name, (time.time() - age, time.time() - age))
    said: list[str] = []
    with FeatureCache(tmp_path, say=said.append) as cache:
        assert cache.verify() == CacheCheck(n_intact=2, n_damaged=1, n_gone=1, n_strays=2)
        assert cache.verify() == CacheCheck(n_intact=2, n_damaged=0, n_gone=0, n_strays=0)
    assert len(said) == 2
    assert (folder / ".new-fresh").exists()


def test_clear_leaves_nothing_and_the_cache_goes_on(tmp_path: Path) -> None:
    """After clear every key is missing and the disk is free; writing works at once."""
    fill(tmp_path)
    with FeatureCache(tmp_path, say=silent) as cache:
        assert not cache.missing(KEYS)
        cache.clear()
        assert cache.missing(KEYS) == set(KEYS)
        assert cache.contents().n_bytes == 0
        assert not list((tmp_path / "features").glob("*.npy"))
        cache.write(KEYS, FEATURES)
        np.testing.assert_array_equal(cache.read(KEYS), FEATURES)
