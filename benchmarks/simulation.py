"""Ten million photos that are only names: the command's part of `imgreg extract`, with drawn answers in place of work.

What runs is imgreg's own: a manifest in 100 parts is listed (`list_files`), what is known of each file is looked up and
taken down (`FileCache`), the photos are cut into blocks, the blocks are handed to 64 workers with two calls each
(`in_order`, a worker in a thousand lost), and their receipts go into the features' index (`extract`, `FeatureCache`).
It works through portions of 64,000 photos, so that memory does not grow, is killed once (after a fifth) and restarted.

What does not run: reading and decoding photos, VGG16, Ray, the network, a shared file system, the split and the
training. A file's size, times and hash, and a block's features (64 rows of 2 bytes), are drawn.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
from timing import show

from imgreg.data.discovery import list_files
from imgreg.data.file_cache import FileCache
from imgreg.data.index import Photo
from imgreg.data.listed import Listed
from imgreg.data.metadata import ImageMetadata
from imgreg.features.cache import BLOCK_ROWS, FeatureCache, WrittenBlock
from imgreg.features.engines import Engine
from imgreg.features.extract import BaseIdentity, FeatureSource, View, extract
from imgreg.training.in_order import in_order

PARTS = 100
PORTION = 1000 * BLOCK_ROWS  # photos
IN_FLIGHT = 2 * 64
LOST = 1000  # one block in so many loses its worker once
BASE = BaseIdentity("0" * 64, 224, "none", "float32")
SEEN = ImageMetadata(bytes(128), 640, 480, 100_000, "JPEG", has_exif=True, look=1 << 63).packed()


class LostError(Exception):
    """A drawn worker died."""


class DrawnWorkers:
    """Workers that write a block of two bytes a row, named by its content, at once; some die the first time."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._lost: set[str] = set()

    def compute_blocks(
        self, blocks: Sequence[Sequence[View]], *, source: FeatureSource
    ) -> Iterator[tuple[int, WrittenBlock]]:
        """As BlockWorkers.compute_blocks."""

        def compute(number: int) -> WrittenBlock:
            first = blocks[number][0].photo.sha256
            if int(first[:8], 16) % LOST == 0 and first not in self._lost:
                self._lost.add(first)
                raise LostError
            rows = [int(view.photo.sha256[:4], 16) for view in blocks[number]]
            data = io.BytesIO()
            np.save(data, np.array(rows, np.uint16).view(np.float16).reshape(-1, 1, 1, 1))
            name = hashlib.blake2b(data.getvalue(), digest_size=32).hexdigest()
            (source.cache.folder / f"{name}.npy").write_bytes(data.getvalue())
            return WrittenBlock(name, len(data.getvalue()))

        def is_lost(future: Future[WrittenBlock]) -> bool:
            return future.done() and isinstance(future.exception(), LostError)

        for number, future in in_order(
            range(len(blocks)),
            start=lambda number: self._pool.submit(compute, number),
            is_lost=is_lost,
            n_at_once=IN_FLIGHT,
            wanted=lambda _: True,
            on_wait=lambda _: None,
        ):
            yield number, future.result()


def simulate(n_photos: int, kill_share: float = 0.2) -> None:
    """Run it, killed after `kill_share` of the photos, and again to the end."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        _write_manifest(root, n_photos)
        killed, resumed = _drive(root, kill_after=round(kill_share * n_photos)), _drive(root)
        files = {name: _mb(root / "cache" / name) for name in ("photos.sqlite", "features/index.sqlite")}
        manifest_mb = sum(map(_mb, root.glob("*.jsonl")))
    assert resumed[-1]["n"] == n_photos
    assert killed[-1]["n"] <= resumed[-1]["n_read"]  # what was done before the kill is not done again
    result = {"n_photos": n_photos, "mb_on_disk": files | {"manifest": manifest_mb}, "killed": killed[-1]}
    result["resumed"] = [resumed[max(0, round(share * len(resumed)) - 1)] for share in (0.1, 0.5, 1)]
    show(result, *(_line(name, rows) for name, rows in (("killed", killed), ("resumed", resumed))))


def child(root: Path) -> None:
    """The command's part, as one process; a line of JSON after each portion."""
    started, n, n_computed, n_read = time.perf_counter(), 0, 0, 0
    listed = list_files(root / "all.jsonl")
    with FileCache(root / "cache", say=print) as files, ThreadPoolExecutor(4) as pool:
        workers = DrawnWorkers(pool)
        while portion := list(islice(listed, PORTION)):
            with FeatureCache(root / "cache", say=print, limit_bytes=10**15) as cache:
                wanted: dict[Photo, Sequence[tuple[int, None]]] = {
                    photo: [(0, None)] for photo in _indexed(portion, files)
                }
                source = FeatureSource(cache, base=BASE)
                done = extract(wanted, source=source, load=lambda: cast(Engine, None), workers=workers)
            n, n_computed, n_read = n + len(portion), n_computed + done.n_computed, n_read + done.n_read
            times = {"seconds": round(time.perf_counter() - started, 1), "cpu": round(time.process_time(), 1)}
            print(
                json.dumps({"n": n, "n_computed": n_computed, "n_read": n_read, **times, "mb": _own_mb()}), flush=True
            )


def _indexed(portion: Sequence[Listed], files: FileCache) -> Iterator[Photo]:
    """As index_photos does for a portion, with a drawn hash where it would read the file."""
    paths = [item.where for item in portion]
    stamps = [(100_000, int.from_bytes(os.fsencode(path)[-12:-4], "big") % 2**40, 1, 1) for path in paths]
    known = files.find(paths, stamps)
    for item, stamp, facts in zip(portion, stamps, known, strict=True):
        sha256 = facts[0] if facts else hashlib.sha256(item.where.encode()).hexdigest()
        if facts is None:
            files.keep(item.where, stamp, sha256=sha256, seen=SEEN)
        yield Photo(item.where, item.label, sha256, item.split, SEEN)


def _write_manifest(root: Path, n_photos: int) -> None:
    names = [f"part-{part:03}.jsonl" for part in range(PARTS)]
    for part, name in enumerate(names):
        with (root / name).open("w") as file:
            for number in range(part * n_photos // PARTS, (part + 1) * n_photos // PARTS):
                label = "ants" if number % 2 else "bees"
                file.write(f'{{"path": "photos/{number >> 12:05}/{number:09}.jpg", "label": "{label}"}}\n')
    (root / "all.jsonl").write_text("".join(f'{{"path": "{name}"}}\n' for name in names))


def _drive(root: Path, kill_after: int | None = None) -> list[dict[str, Any]]:
    command = [sys.executable, str(Path(__file__).parent / "scale.py"), "simulate-child", str(root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    rows = []
    for line in process.stdout:
        rows.append(json.loads(line))
        print(line, end="", file=sys.stderr)
        if kill_after is not None and rows[-1]["n"] >= kill_after:
            process.send_signal(signal.SIGKILL)
    status = process.wait()
    assert status == (0 if kill_after is None else -signal.SIGKILL), status
    return rows


def _line(name: str, rows: list[dict[str, Any]]) -> str:
    start, last = rows[max(0, len(rows) // 10 - 1)], rows[-1]
    return (
        f"{name:8} {last['n']:>12,} photos {last['seconds']:8.0f} s, {last['cpu']:.0f} s of CPU   "
        f"memory {start['mb']} MB after a tenth, {last['mb']} MB at the end"
    )


def _own_mb() -> int:
    """Of this process' own memory, files' pages not counted."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) // 1024


def _mb(path: Path) -> int:
    return path.stat().st_size // 10**6
