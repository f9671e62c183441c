"""Ten million photos that are only names: the command's part of `imgreg extract`, with drawn answers in place of work.

What runs is imgreg's own (`extract_portions`): a manifest in 100 parts is listed, what is known of each file is looked
up and taken down, the photos are cut into blocks, the blocks are handed to 64 workers with two calls each (`in_order`,
a worker in a thousand lost), and their receipts go into the features' index, portion by portion. It is killed once
(after a fifth) and restarted.

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
from pathlib import Path
from typing import Any

import numpy as np
from timing import show

from imgreg.api.extract import extract_portions
from imgreg.config import Base
from imgreg.data import index, reading
from imgreg.data.file_cache import Stamp
from imgreg.data.listed import Listed
from imgreg.data.metadata import ImageMetadata
from imgreg.data.reading import Facts
from imgreg.features.block_files import WrittenBlock
from imgreg.features.extract import FeatureSource, View
from imgreg.progress import Watcher
from imgreg.recipes.settings import build_settings
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.in_order import in_order

PARTS = 100
IN_FLIGHT = 2 * 64
LOST = 1000  # one block in so many loses its worker once
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
            advice="",
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
        os.environ["IMGREG_CACHE"] = str(root / "cache")
        assert Backbone(Base(weights="starter"), watcher=Watcher()).engine  # exports it, which takes TensorFlow
        killed, resumed = _drive(root, kill_after=round(kill_share * n_photos)), _drive(root)
        files = {name: _mb(root / "cache" / name) for name in ("photos.sqlite", "features/index.sqlite")}
        manifest_mb = sum(map(_mb, root.glob("*.jsonl")))
    assert resumed[-1]["n"] == n_photos
    assert killed[-1]["n"] <= resumed[-1]["n_read"]  # what was done before the kill is not done again
    result = {"n_photos": n_photos, "mb_on_disk": files | {"manifest": manifest_mb}, "killed": killed[-1]}
    result["resumed"] = [resumed[max(0, round(share * len(resumed)) - 1)] for share in (0.1, 0.5, 1)]
    show(result, *(_line(name, rows) for name, rows in (("killed", killed), ("resumed", resumed))))


def child(root: Path) -> None:
    """The command, as one process, with drawn files and workers; a line of JSON after each portion."""
    index.stamp_of = _drawn_stamp
    reading.in_workers = _drawn_facts
    os.environ["IMGREG_CACHE"] = str(root / "cache")
    settings = build_settings("plain", {"weights": "starter", "overrides": {"prediction.mirror": False}})
    started = time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        session = Session(cache_bytes=10**15, pool=DrawnWorkers(pool), watcher=Watcher(say=print))
        for done in extract_portions(root / "all.jsonl", settings=settings, session=session):
            row: dict[str, Any] = {"n": done.n_photos, "n_computed": done.n_computed, "n_read": done.n_read}
            row |= {"seconds": round(time.perf_counter() - started, 1), "cpu": round(time.process_time(), 1)}
            print(json.dumps(row | {"mb": _own_mb()}), flush=True)


def _drawn_stamp(path: str) -> Stamp:
    return 100_000, int.from_bytes(os.fsencode(path)[-12:-4], "big") % 2**40, 1, 1


def _drawn_facts(_: object, items: Sequence[Listed], **__: object) -> Iterator[Facts]:
    """In place of reading the files, with drawn hashes."""
    for item in items:
        yield hashlib.sha256(item.where.encode()).hexdigest(), SEEN


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
