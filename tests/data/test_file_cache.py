"""known.py: a file that is still the same is not read again, and any other is."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import paint, paint_set
from imgreg.data import file_cache as known
from imgreg.data import reading
from imgreg.data.file_cache import FileCache, stamp_of
from imgreg.data.index import PhotoIndex, index_photos

READ: list[Path] = []


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six photos, of which the test need not wait until they are old enough to be taken down."""
    monkeypatch.setattr(known, "RACY_SECONDS", -1)
    return paint_set(tmp_path / "data", n_each=3)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The files that were really read."""
    real, paths = reading.in_workers, []

    def noted(work, items, *, failed):  # type: ignore[no-untyped-def]
        paths.extend(Path(item.where) for item in items)
        return real(work, items, failed=failed)

    monkeypatch.setattr(reading, "in_workers", noted)
    return paths  # type: ignore[return-value]


def indexed(data: Path, cache: Path, said: list[str] | None = None) -> PhotoIndex:
    with FileCache(cache, say=(said if said is not None else []).append) as files:
        return index_photos(data, max_bad=0.5, file_cache=files)


def test_nothing_is_read_twice_and_all_is_the_same(data: Path, tmp_path: Path, read: list[Path]) -> None:
    """The second index has the same photos with the same hashes and glances, in the same order, and reads no file."""
    first = indexed(data, tmp_path / "cache")
    assert len(read) == 6
    second = indexed(data, tmp_path / "cache")
    assert len(read) == 6
    assert second == first == index_photos(data, max_bad=0)
    assert [photo.metadata for photo in second.photos] == [photo.metadata for photo in first.photos]


def test_a_file_that_changed_in_any_way_is_read(data: Path, tmp_path: Path, read: list[Path]) -> None:
    """Other bytes of the same length with the old time set back, a replaced file, a touched one: each is read anew."""
    one, other, third = sorted((data / "cold").iterdir())
    indexed(data, tmp_path / "cache")
    read.clear()
    before = one.stat()
    content = bytearray(one.read_bytes())
    content[-3] ^= 1  # of the compressed picture's end
    one.write_bytes(content)
    os.utime(one, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (one.stat().st_size, one.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    shutil.copy2(data / "warm" / "w00.jpg", tmp_path / "copy.jpg")
    (tmp_path / "copy.jpg").replace(other)
    third.touch()
    found = indexed(data, tmp_path / "cache")
    assert sorted(read) == [one, other, third]
    assert found == index_photos(data, max_bad=0.5)


def test_a_file_that_changed_just_now_is_not_taken_down(tmp_path: Path, read: list[Path]) -> None:
    """Within two seconds of its change a file might change again unseen: it is read by the next command too."""
    data = paint_set(tmp_path / "data", n_each=1)
    assert stamp_of(str(data / "cold" / "c00.jpg")) is None
    for _ in range(2):
        indexed(data, tmp_path / "cache")
    assert len(read) == 4


def test_every_file_is_read_where_no_change_time_is_kept(
    data: Path, tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows a file's ctime is its creation: nothing is taken to be the same."""
    monkeypatch.setattr(known, "WINDOWS", True)
    first = indexed(data, tmp_path / "cache")
    assert indexed(data, tmp_path / "cache") == first
    assert len(read) == 12


def test_files_that_cannot_be_read_are_looked_at_again(data: Path, tmp_path: Path, read: list[Path]) -> None:
    """A damaged file may be mended without a trace in the record: only readable photos are taken down."""
    (data / "cold" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    indexed(data, tmp_path / "cache")
    read.clear()
    assert [bad.path.name for bad in indexed(data, tmp_path / "cache").skipped] == ["broken.jpg"]
    assert [path.name for path in read] == ["broken.jpg"]


def test_another_pillow_reads_every_file(
    data: Path, tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can be read, and what is seen in it, may differ by version."""
    indexed(data, tmp_path / "cache")
    monkeypatch.setattr(known, "made_by", lambda: "another")
    indexed(data, tmp_path / "cache")
    assert len(read) == 12


@pytest.mark.parametrize("damage", [b"", b"not a database at all, but something else entirely", None])
def test_a_damaged_record_is_told_and_made_anew(
    damage: bytes | None, data: Path, tmp_path: Path, read: list[Path]
) -> None:
    """Whatever stands in the record's place, the photos are read and the next command has a record again."""
    whole = indexed(data, tmp_path / "cache")
    record, said = tmp_path / "cache" / known.FILE, []
    if damage is None:  # a table of another make
        with sqlite3.connect(record) as connection:
            connection.executescript("DROP TABLE files; CREATE TABLE files (path); PRAGMA user_version = 99")
        connection.close()
    else:
        known.forget(tmp_path / "cache")
        record.write_bytes(damage)
    assert indexed(data, tmp_path / "cache", said) == whole
    assert len(said) == bool(damage)  # an empty file and another table are made anew without a word
    indexed(data, tmp_path / "cache", said)
    read.clear()
    indexed(data, tmp_path / "cache", said)
    assert (read, len(said)) == ([], bool(damage))


def test_a_record_that_cannot_be_kept_costs_nothing_but_time(data: Path, tmp_path: Path, read: list[Path]) -> None:
    """With a file where its folder should be, every photo is read and one line says so."""
    (tmp_path / "cache").write_text("in the way")
    said: list[str] = []
    assert len(indexed(data, tmp_path / "cache", said).photos) == 6
    assert len(said) == 1
    assert "read again" in said[0]


def test_entries_that_nobody_asks_for_go(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 90 days without use an entry is forgotten when others are taken down."""
    indexed(data, tmp_path / "cache")
    with sqlite3.connect(tmp_path / "cache" / known.FILE) as connection:
        connection.execute("UPDATE files SET used = used - ?", (known.UNUSED_SECONDS + 10,))
    connection.close()
    other = tmp_path / "other"
    for label in ("a", "b"):
        paint(other / label / "1.jpg", warm=True, seed=ord(label))
    indexed(other, tmp_path / "cache")
    with sqlite3.connect(tmp_path / "cache" / known.FILE) as connection:
        assert connection.execute("SELECT COUNT(*) FROM files").fetchone() == (2,)
    connection.close()
