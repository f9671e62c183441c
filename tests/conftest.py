"""Tiny painted photos, and one small trained run that many tests look at."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgreg.features.processor import has_bfloat16
from imgreg.runs.checksums import write_sums

if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: more threads slow each other
    for _threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(_threads, "1")

# `make test-optimized` runs these under -O; here they would only be slow.
collect_ignore = [] if sys.flags.optimize else ["test_optimized.py"]

SHARED = Path(__file__).parents[2] / "shared"
_BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "chrome"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
)
CHROMIUM = next((found for place in _BROWSERS if (found := shutil.which(place))), None)
NEEDS_CHROMIUM = pytest.mark.skipif(
    CHROMIUM is None and os.environ.get("CI") != "true",  # CI fails instead: nothing may be left out there
    reason="install Chromium to run these, e.g. apt-get install chromium",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `shared` need real photos that a fresh clone does not have. The longest module comes first: begun
    last, the other processes would wait for it."""
    items.sort(key=lambda item: item.path.name != "test_faults.py")
    if not (SHARED / "photos").is_dir():
        for item in items:
            if item.get_closest_marker("shared"):
                item.add_marker(
                    pytest.mark.skip(reason=f"put real photos into {SHARED}/photos/SET/CLASS/ to run these")
                )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The last lines say in which arithmetic this machine ran the base, and what was skipped and why."""
    if hasattr(config, "workerinput"):
        return
    computed = "float32 and bfloat16" if has_bfloat16() else "float32 only (no AMX or AVX512-BF16 here)"
    terminalreporter.write_line(f"The base was tested in {computed}.")
    reasons = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", []))
    for reason, n in reasons.items():
        terminalreporter.write_line(f"{n} skipped: {reason.removeprefix('Skipped: ')}")


_ASKED: list[str] = []  # of the network, by this process


def _no_network(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: nothing but this machine may be asked for."""
    if event == "socket.connect" and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
        address = str(arguments[1][0])
    elif event == "socket.getaddrinfo":
        address = str(arguments[0])
    else:
        return
    if address not in ("127.0.0.1", "::1", "localhost", "None"):
        _ASKED.append(address)
        raise OSError(errno.ENETUNREACH, f"the tests have no network: {address} was asked for")


sys.addaudithook(_no_network)


@pytest.fixture(autouse=True)
def no_network() -> Iterator[list[str]]:
    """No test, and no command in one, asks the network for anything."""
    _ASKED.clear()
    yield _ASKED
    assert not _ASKED


@pytest.fixture(scope="session")
def shared() -> Path:
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tests never touch the user's caches; this process and its children share one of their own."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["IMGREG_CACHE"] = str(folder)
    os.environ["KERAS_HOME"] = str(tmp_path_factory.mktemp("keras"))
    return folder


def paint(path: Path, *, warm: bool, seed: int, size: tuple[int, int] = (60, 48)) -> None:
    """A photo-like patch: clouds of light and stripes on noise, warm or cold; the clouds make each look different."""
    draw = np.random.default_rng(seed)
    width, height = size
    base = np.array([200, 120, 60] if warm else [60, 120, 200]) + draw.integers(-40, 40, 3)
    waves = 30 * np.sin(np.arange(width) / draw.uniform(2, 6))[None, :, None]
    clouds = Image.fromarray(draw.normal(0, 45, (7, 9)).astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    pixels = base + waves + np.asarray(clouds)[:, :, None] + draw.normal(0, 25, (height, width, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def blobs(path: Path, *, seed: int, quality: int = 90, size: tuple[int, int] = (160, 120)) -> None:
    """A picture of soft lights, as photos are rather than noise; the same seed is the same picture."""
    y, x = np.mgrid[0:120, 0:160]
    draw = np.random.default_rng(seed)
    light = sum(
        draw.uniform(-110, 110, 3)
        * np.exp(-((x - draw.uniform(0, 160)) ** 2 + (y - draw.uniform(0, 120)) ** 2) / 900)[:, :, None]
        for _ in range(16)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((128 + light).clip(0, 255).astype(np.uint8)).resize(size).save(path, quality=quality)


def paint_set(root: Path, *, n_each: int, seed: int = 0) -> Path:
    """root/cold and root/warm with n_each photos each."""
    for number in range(n_each):
        paint(root / "cold" / f"c{number:02}.jpg", warm=False, seed=seed + 2 * number)
        paint(root / "warm" / f"w{number:02}.jpg", warm=True, seed=seed + 2 * number + 1)
    return root


@dataclass(frozen=True)
class Finished:
    """A command that ran: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def imgreg(*arguments: object, stdin: bytes = b"") -> Finished:
    """Run the command line in this process, through its own main: TensorFlow is loaded once for all tests."""
    from imgreg.cli import main, stopping

    before = sys.argv, sys.stdin, sys.stdout, sys.stderr
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.seek(0)
        sys.argv = ["imgreg", *map(str, arguments)]
        sys.stdin, sys.stdout, sys.stderr = (io.TextIOWrapper(file, write_through=True) for file in (given, out, err))
        try:
            main()
        except SystemExit as end:
            code = end.code
        except Exception:  # noqa: BLE001 - a bug of ours, shown as the interpreter would
            traceback.print_exc()
            code = 1
        finally:
            streams = sys.stdin, sys.stdout, sys.stderr
            sys.argv, sys.stdin, sys.stdout, sys.stderr = before
            for number, handler in handlers.items():
                signal.signal(number, handler)
            stopping._received.clear()  # a process ends here; what it was sent must not stop the next command
            for stream in streams:
                stream.flush()
                stream.detach()
        out.seek(0)
        err.seek(0)
        assert isinstance(code, int)
        return Finished(code, out.read().decode(), err.read().decode())


def imgreg_process(*arguments: object, env: dict[str, str] | None = None) -> Finished:
    """Run the command line in a process of its own, as a user does."""
    done = subprocess.run(
        [sys.executable, "-m", "imgreg", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | (env or {}),
        timeout=300,
        check=False,
    )
    return Finished(done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass(frozen=True)
class Trained:
    """One run by `imgreg train --json` on painted photos, with what it was made from."""

    data: Path
    folder: Path
    document: dict[str, Any]
    err: str


TRAIN_ARGUMENTS = (
    "--weights",
    "starter",
    "--image-size",
    "64",
    "--epochs",
    "6",
    "--views",
    "2",
    "--folds",
    "0",
    "--set",
    "head.units=[8]",
)


def tree(root: Path) -> dict[str, tuple[bytes, int]]:
    """Bytes and time of change of every file."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for tests marked NEEDS_CHROMIUM."""
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        pytest.fail("CI needs Chromium: .ci/run installs it where it may")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """Whatever the tests do with it, its photos are afterwards what they were."""
    root = tmp_path_factory.mktemp("trained")
    data = paint_set(root / "data", n_each=16)
    (data / "cold" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a photo")
    before = tree(data)
    done = imgreg("train", data, *TRAIN_ARGUMENTS, "--name", "first", "--models", root / "models", "--json")
    assert done.code == 0, done.err
    yield Trained(data, root / "models" / "first", done.json, done.err)
    assert tree(data) == before


def one_of_each(trained: Trained, folder: Path) -> Path:
    """A folder with one photo of each class, for what need not be done with all of them."""
    for label in ("cold", "warm"):
        (folder / label).mkdir(parents=True)
        shutil.copy(trained.data / label / f"{label[0]}00.jpg", folder / label)
    return folder


def naming(folder: Path, *places: Path, but: tuple[str, ...] = ("environment.json",)) -> list[str]:
    """The files below a folder in which one of these places is named, `but` those that are for this machine alone."""
    texts = [str(place).encode() for place in places]
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in but and any(text in path.read_bytes() for text in texts)
    ]


def with_precision(run: Path, precision: str) -> None:
    """Make a run say that its features were computed in this precision, as on a machine that has it."""
    for name in ("model.json", "metrics.json"):
        path = run / name
        path.write_text(json.dumps(json.loads(path.read_text()) | {"precision": precision}))
    write_sums(run)
