"""A stranger's run folder, damaged at random, whose sums hold: each reader refuses it with words, or uses it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from conftest import Trained
from imgreg.analysis.notable import notable_photos
from imgreg.api.report import rebuild_report
from imgreg.api.verify import recorded_settings
from imgreg.errors import ArtefactError
from imgreg.heads.forward import probabilities
from imgreg.heads.store import load_head
from imgreg.reports.terminal.runs import entries_text
from imgreg.reports.words import recipe_in_words
from imgreg.runs.checksums import changed_files, write_sums
from imgreg.runs.find import newest_run
from imgreg.runs.folder import read_run
from imgreg.runs.listing import list_entries

N_MUTATIONS = int(os.environ.get("IMGREG_MUTATIONS", "1000"))
N_REPORTS = max(N_MUTATIONS // 250, 1)  # of those that are read, how many have their report drawn: some seconds each
LONGEST_SECONDS = 60.0  # of one mutation; what hangs takes longer on any machine
MOST_BYTES = 500 * 2**20  # by which the process may grow

WILD: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 255, 2**31, -(2**63), 2**64, 10**30, 10**400),
    *(0.0, -0.0, 0.5, -1e-9, 1e308, -1e308, float("nan"), float("inf"), float("-inf")),
    *("", "0", "nan", "1e999", "\x00", "\ud800", "\u202e", "../../etc/passwd", "/dev/zero", "a" * 5000, "\r\n", "%s{}"),
    *([], {}, [[]], [None], {"": None}, [[[[[]]]]], [0] * 1000, {"a": {"b": {"c": []}}}),
)
WILD_FIELDS = (
    "",
    "0",
    "-1",
    "nan",
    "inf",
    "1e999",
    "9" * 5000,
    '"',
    '""',
    "\x00",
    "\r",
    "\n",
    ",",
    "\udcff",
    "a" * 200_000,
)


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a JSON document, the document itself first."""
    yield path
    items = (
        document.items() if isinstance(document, dict) else enumerate(document if isinstance(document, list) else ())
    )
    for key, value in items:
        yield from places(value, (*path, key))


def wild_json(data: bytes, draw: np.random.Generator) -> bytes:
    """One to three values exchanged, taken out, doubled or nested."""
    document = json.loads(data)
    for _ in range(draw.integers(1, 4)):
        every = list(places(document))
        path = every[draw.integers(len(every))]
        if not path:
            continue
        *above, last = path
        parent = document
        for key in above:
            parent = parent[key]
        way = draw.integers(8)
        if way == 0:
            del parent[last]
        elif way == 1 and isinstance(parent, list):
            parent.insert(last, parent[last])
        elif way == 2 and isinstance(parent, dict):
            parent[f"{last}_"] = parent[last]
        elif way == 3:
            other = every[draw.integers(len(every))]
            value = document
            for key in other:
                value = value[key] if isinstance(value, (dict, list)) and _has(value, key) else None
            parent[last] = json.loads(json.dumps(value))
        elif way == 4 and isinstance(parent[last], (int, float)):
            parent[last] = parent[last] * int(draw.integers(-3, 4)) + int(draw.integers(-2, 3))
        else:
            parent[last] = WILD[draw.integers(len(WILD))]
    return json.dumps(document).encode("utf-8", "surrogatepass")


def _has(value: Any, key: Any) -> bool:
    return key in value if isinstance(value, dict) else isinstance(key, int) and key < len(value)


def wild_csv(data: bytes, draw: np.random.Generator) -> bytes:
    """A field exchanged, or a row or column taken out, doubled or moved."""
    rows = list(csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")))
    for _ in range(draw.integers(1, 3)):
        row = int(draw.integers(len(rows)))
        column = int(draw.integers(len(rows[row]))) if rows[row] else 0
        way = draw.integers(6)
        if way == 0 and len(rows) > 1:
            del rows[row]
        elif way == 1:
            rows.insert(row, rows[row])
        elif way == 2:
            rows[row] = rows[row][:column]
        elif way == 3:
            rows = [r[:column] + r[column + 1 :] for r in rows]
        elif rows[row]:
            rows[row] = list(rows[row])
            rows[row][column] = WILD_FIELDS[draw.integers(len(WILD_FIELDS))]
    if draw.integers(4) == 0:  # unquoted, as a spreadsheet would not write it
        return "\n".join(",".join(row) for row in rows).encode("utf-8", "surrogateescape")
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def wild_array(data: bytes, draw: np.random.Generator) -> bytes:
    """Another dtype, shape, order or claim in the header, or other values."""
    values = np.load(io.BytesIO(data))
    out = io.BytesIO()
    way = draw.integers(6)
    if way == 0:
        kinds = ("<f8", "<f2", ">f4", "<i4", "|O", "|V4", "<U3", "|b1", "<c8", "<M8[s]")
        kind = kinds[draw.integers(len(kinds))]
        np.lib.format.write_array_header_1_0(out, {"descr": kind, "fortran_order": False, "shape": values.shape})
        out.write(values.tobytes() * 4)
    elif way == 1:
        sizes = (0, 1, -1, 2**31, 2**62, values.shape[0], 10**40)
        shape = tuple(int(sizes[i]) for i in draw.integers(len(sizes), size=draw.integers(0, 5)))
        np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": shape})
        out.write(values.tobytes())
    elif way == 2:
        flat = values.ravel().copy()
        flat[draw.integers(flat.size)] = (np.nan, np.inf, -1, 2, 1e38, -0.0)[draw.integers(6)]
        np.save(out, flat.reshape(values.shape))
    elif way == 3:
        np.save(out, np.asfortranarray(values))
    elif way == 4:
        np.save(out, values[: draw.integers(len(values))])
    else:
        return wild_bytes(data[:128], draw) + data[128:]
    return out.getvalue()


def wild_head(data: bytes, draw: np.random.Generator) -> bytes:
    """A header of safetensors with values exchanged, before the same arrays."""
    n_header = int.from_bytes(data[:8], "little")
    if draw.integers(3) == 0:
        return wild_bytes(data[: 8 + n_header], draw) + data[8 + n_header :]
    header = wild_json(data[8 : 8 + n_header], draw)
    for kind in ("F16", "BF16", "I32", "F64", "BOOL") if draw.integers(3) == 0 else ():
        header = header.replace(b'"F32"', f'"{kind}"'.encode(), 1)
    arrays = np.frombuffer(data[8 + n_header :], np.uint8).copy()
    arrays[draw.integers(len(arrays), size=draw.integers(8))] = 255  # four of them are a NaN
    return len(header).to_bytes(8, "little") + header + arrays.tobytes()


def wild_toml(data: bytes, draw: np.random.Generator) -> bytes:
    """A value exchanged, or a line taken out or doubled."""
    lines = data.decode().splitlines()
    for _ in range(draw.integers(1, 4)):
        at = int(draw.integers(len(lines)))
        way = draw.integers(4)
        if way == 0:
            del lines[at]
        elif way == 1:
            lines.insert(at, lines[at])
        else:
            values = (
                "0",
                "-1",
                "1e400",
                "nan",
                "true",
                '""',
                "[]",
                "[[[[]]]]",
                "{}",
                "1979-05-27",
                "9" * 400,
                "'x'",
                "",
            )
            lines[at] = f"{lines[at].partition('=')[0]}= {values[draw.integers(len(values))]}"
    return "\n".join(lines).encode()


def wild_bytes(data: bytes, draw: np.random.Generator) -> bytes:
    """Bytes flipped, cut out, doubled or left off; nested, endless or empty."""
    changed = bytearray(data)
    way = draw.integers(6)
    start, length = int(draw.integers(len(changed) + 1)), int(draw.integers(1, 200))
    if way == 0:
        del changed[start:]
    elif way == 1:
        del changed[start : start + length]
    elif way == 2:
        changed[start:start] = changed[start : start + length]
    elif way == 3:
        depth = int(draw.integers(1, 200_000))
        changed[start:start] = (b"[" * depth + b"]" * depth, b'{"a":' * depth + b"1" + b"}" * depth)[draw.integers(2)]
    elif way == 4:
        changed[start:start] = b"9" * int(draw.integers(1, 10_000))
    else:
        for at in draw.integers(len(changed), size=draw.integers(1, 20)) if changed else ():
            changed[at] = draw.integers(256)
    return bytes(changed)


FILES: dict[str, tuple[Callable[[bytes, np.random.Generator], bytes], int]] = {  # how, and how often
    "model.json": (wild_json, 6),
    "metrics.json": (wild_json, 6),
    "environment.json": (wild_json, 2),
    "history.csv": (wild_csv, 3),
    "split.csv": (wild_csv, 3),
    "skipped.csv": (wild_csv, 1),
    "config.toml": (wild_toml, 3),
    "val_probabilities.npy": (wild_array, 3),
    "train_true_class.npy": (wild_array, 1),
    "head.safetensors": (wild_head, 3),
    "SHA256SUMS": (wild_bytes, 1),
}


def mutate(run: Path, draw: np.random.Generator) -> str:
    """Damage one file, or now and then two, and have the sums fit. returns the files' names"""
    names, often = list(FILES), np.array([n for _, n in FILES.values()], dtype=float)
    chosen = draw.choice(names, size=1 + (draw.integers(8) == 0), p=often / often.sum(), replace=False)
    for name in chosen:
        path = run / name
        change = wild_bytes if draw.integers(4) == 0 else FILES[name][0]
        path.write_bytes(change(path.read_bytes(), draw))
        if name == "head.safetensors" and draw.integers(2):  # the card's sum fits as well
            _fit_card(run)
    if "SHA256SUMS" not in chosen:
        write_sums(run)
    return ", ".join(chosen)


def _fit_card(run: Path) -> None:
    try:
        card = json.loads((run / "model.json").read_text())
        card["head_sha256"] = hashlib.sha256((run / "head.safetensors").read_bytes()).hexdigest()
        (run / "model.json").write_text(json.dumps(card))
    except (ValueError, TypeError):
        pass


def use_head(run: Path) -> None:
    """As predict does, but for the photo."""
    saved = load_head(run)
    features = np.ones((1, *saved.card.feature_shape), np.float16)
    with np.errstate(all="ignore"):
        answer = probabilities(features, plan=saved.card.plan, weights=saved.heads[0])
    assert answer.shape == (1, len(saved.card.classes))


def use_run(run: Path) -> None:
    """As report, evaluate and verify do, but for drawing and training."""
    read = read_run(run)
    notable_photos(read)
    recipe_in_words(read.config_toml)
    recorded_settings(read)


def use_list(run: Path) -> None:
    """As runs and predict without --run do."""
    entries, damaged = list_entries(run.parent)
    assert len(entries) + len(damaged) == (run / "model.json").is_file()
    if entries:
        Console(file=io.StringIO(), width=80).print(entries_text(entries))
        assert newest_run(run.parent) == run


def use_sums(run: Path) -> None:
    """As verify --files-only does."""
    changed_files(run)


@pytest.fixture
def plain_run(trained: Trained, tmp_path: Path) -> Path:
    """A run without what is drawn of it."""
    drawn = shutil.ignore_patterns("*.png", "*.svg", "*.html", "pictures")
    return Path(shutil.copytree(trained.folder, tmp_path / "whole" / "run", ignore=drawn))


def test_a_run_damaged_at_random_is_refused_or_used(
    plain_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seeded damage to every file: what is read of it is used, or refused by ArtefactError; some of the runs that are
    read have their report drawn. Nothing else is raised, nothing hangs, and the process does not grow."""
    run = tmp_path / "models" / "run"
    found: Counter[tuple[str, bool]] = Counter()
    before = peak_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: None)  # no power fails here
    shutil.copytree(plain_run, run)
    for number in range(N_MUTATIONS):
        restore(run, plain_run)
        damaged = mutate(run, np.random.default_rng([15, number]))
        uses = [use_head, use_run, use_list, use_sums]
        for use in uses:
            started = time.monotonic()
            read = True
            try:
                use(run)
            except ArtefactError:
                read = False
            except Exception as error:
                raise AssertionError(f"damage {number} to {damaged}: {use.__name__} raised {error!r}") from error
            found[use.__name__, read] += 1
            assert time.monotonic() - started < LONGEST_SECONDS, f"damage {number} to {damaged}: {use.__name__}"
            if use is use_run and read and found["report", True] < N_REPORTS and number % 50 == 0:
                uses.append(rebuild_report)
                found["report", True] += 1
    assert peak_bytes() - before < MOST_BYTES
    for use in (use_head, use_run):  # the damage is neither too much nor too little
        assert min(found[use.__name__, True], found[use.__name__, False]) > N_MUTATIONS / 100, found


def restore(run: Path, whole: Path) -> None:
    """Give each file that was damaged or drawn since the bytes that it has in the whole run, or remove it."""
    for path in run.rglob("*"):
        kept = whole / path.relative_to(run)
        if path.is_file() and not kept.is_file():
            path.unlink()
        elif path.is_file() and path.stat().st_mtime_ns != kept.stat().st_mtime_ns:
            shutil.copy2(kept, path)


def peak_bytes() -> int:
    """The most memory this process ever had; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
