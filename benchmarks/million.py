"""Indexing a million photos that are known: hard links to 20 pictures. Time and memory.

usage: python benchmarks/million.py [N]       (default 1000000; needs N files' entries in the temporary folder)

The record of what was read is filled by its own `keep` with what reading the 20 pictures gave: to read a million files
takes half an hour. What is timed is an index in a fresh process: every file is looked at (its size and times), none
is read. Beside it, in the same run, what Python's own walk and look at every file takes, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from drawn import draw_sample
from timing import show

from imgreg.data.discovery import list_files
from imgreg.data.file_cache import FileCache, stamp_of
from imgreg.data.index import index_photos

A_FOLDER = 10_000  # links to one picture: file systems bound them (ext4 65,000)

CHILD = """
import json, resource, sys, time
from pathlib import Path
from imgreg.data import index, reading
from imgreg.data.file_cache import FileCache
n_read = 0
real = reading.in_workers
def counted(work, items, *, failed):
    global n_read
    n_read += len(items)
    return real(work, items, failed=failed)
reading.in_workers = counted
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
began = time.perf_counter()
with FileCache(Path(sys.argv[2]), say=print) as known:
    found = index.index_photos(Path(sys.argv[1]), max_bad=0, file_cache=known)
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"n": len(found.photos), "n_read": n_read, "seconds": seconds, "mb": peak, "mb_before": before}))
"""


def main(n_photos: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        _link(root, n_photos)
        _fill(root)
        found = _index(root)
        began = time.perf_counter()
        for where, _, names in os.walk(root / "data"):
            for name in names:
                os.stat(os.path.join(where, name))  # noqa: PTH116, PTH118 - the quickest there is
        bare = time.perf_counter() - began
    assert (found["n"], found["n_read"]) == (n_photos, 0)
    lines = (
        f"index_photos         {found['seconds']:8.1f} s   {found['mb']:6.0f} MB ({found['mb_before']:.0f} before)",
        f"os.walk and os.stat  {bare:8.1f} s   the index takes {found['seconds'] / bare:.1f} times as long",
    )
    show({"index": found, "bare_seconds": bare}, f"{n_photos:,} photos", *lines)


def _link(root: Path, n_photos: int) -> None:
    draw_sample(root / "drawn", count=10, seed=0)
    for label in sorted(path.name for path in (root / "drawn").iterdir()):
        pictures = sorted((root / "drawn" / label).iterdir())
        for number in range(n_photos // 2):
            folder = root / "data" / label / str(number // A_FOLDER)
            if number % A_FOLDER == 0:
                folder.mkdir(parents=True)
                copies = [folder / f"0-{picture.name}" for picture in pictures]
                for picture, copy in zip(pictures, copies, strict=True):
                    copy.write_bytes(picture.read_bytes())
            if number % A_FOLDER >= len(pictures):
                os.link(copies[number % len(copies)], folder / f"{number:07}.jpg")
    time.sleep(2.5)  # younger files are not taken down


def _fill(root: Path) -> None:
    drawn = {photo.path.name: photo for photo in index_photos(root / "drawn", max_bad=0).photos}
    names = sorted(drawn)
    with FileCache(root / "cache", say=print) as known:
        for row, item in enumerate(list_files(root / "data")):
            photo, stamp = drawn[names[row % len(names)]], stamp_of(item.where)
            assert stamp is not None
            assert photo.seen is not None
            own = hashlib.sha256(item.where.encode()).hexdigest()  # as a million different photos have
            known.keep(item.where, stamp, sha256=own, seen=photo.seen)


def _index(root: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, root / "data", root / "cache"], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
