"""Kill a small training wherever it may stand, fill its disk, run eight at once; then look whether anything was lost.

usage: python tools/faults kills [--cases 50]      kill -9 at random moments
       python tools/faults writes [--every 1]      at each operation on the disk: before it, and in its midst
       python tools/faults disk [--every 1]        the disk is full, or read-only, from an operation on
       python tools/faults stops [--cases 20]      SIGTERM at random moments of a run with an empty cache: how soon?
       python tools/faults together [--cases 50]   eight processes at once on one cache, most of them on one name
needs: imgreg; a C compiler for writes and disk

Each case runs the real command line in a process forked from one that has TensorFlow imported (not started), then
looks at every artefact, lets the same command go on, and compares what it gives with an uninterrupted run's.
Prints one JSON object: cases, losses, hangs, and what was seen of each loss. Exit code 1 if there was any.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
HANG_SECONDS = 180
KILLS_IN_A_ROW = 16  # then the command may end
MODES = {"before": 1, "midst": 2, "full": 3, "read-only": 4}
OPTIONS = ["--weights", "starter", "--image-size", "32", "--epochs", "4", "--set", "head.units=[8]", "-q"]
COMMANDS = {
    "train": ["train", "photos", "--recipe", "regularized", "--views", "1", "--folds", "2", *OPTIONS],
    "compare": ["compare", "photos", "--views", "1", "--folds", "2", *OPTIONS],
    "study": ["study", "photos", "--topic", "dropout", "--repeats", "2", *OPTIONS],
}
SAME = {  # files that an interrupted run must give to the byte
    *(
        "head.safetensors",
        "calibration.safetensors",
        "model.json",
        "config.toml",
        "split.csv",
        "skipped.csv",
        "table.csv",
        "duplicates.csv",
    ),
    *("val_probabilities.npy", "train_true_class.npy", "test_probabilities.npy"),
    *("augmentation.json", "views.png"),
}


@dataclass
class Tally:
    """What was tried and seen."""

    cases: int = 0
    hangs: int = 0
    losses: list[str] = field(default_factory=list)
    codes: Counter[int] = field(default_factory=Counter)
    stops: list[float] = field(default_factory=list)  # seconds from a signal to the end

    def note(self, case: str, problems: list[str]) -> None:
        self.losses += [f"{case}: {problem}" for problem in problems]
        for problem in problems:
            print(f"{case}: {problem}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["kills", "writes", "disk", "together", "stops"])
    parser.add_argument("--command", choices=COMMANDS, default="train")
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--every", type=int, default=1, help="try each so-many-th operation")
    parser.add_argument("--first", type=int, default=1, help="the operation to begin with")
    parser.add_argument("--within", type=float, default=1.0, help="kill within this share of an undisturbed run's time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--base", type=Path, help="a cache folder whose exported base is taken, not made anew")
    parser.add_argument("--root", type=Path, help="where to work; by default a temporary folder")
    given = parser.parse_args()
    if given.what in ("writes", "disk") and "FAULTS_SHIM" not in os.environ:
        with tempfile.TemporaryDirectory() as built:  # LD_PRELOAD must be there when the process starts
            shim = f"{built}/shim.so"
            subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", shim, HERE / "shim.c", "-ldl"], check=True)
            environment = os.environ | {"LD_PRELOAD": shim, "FAULTS_SHIM": shim}
            sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode)
    root = given.root or Path(tempfile.mkdtemp(prefix="imgreg-faults-"))
    root.mkdir(parents=True, exist_ok=True)
    os.chdir(root)
    os.environ |= {"IMGREG_CACHE": str(root / "cache"), "KERAS_HOME": str(root / "keras")}
    for threads in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(threads, "1")
    tally = Tally()
    began = time.monotonic()
    try:
        _import_everything()
        if given.base and (given.base / "base").is_dir():
            shutil.copytree(given.base / "base", "cache/base")
        place = _laid_out(COMMANDS[given.command])
        if given.what == "kills":
            _kills(place, tally, n_cases=given.cases, seed=given.seed, within=given.within * place.seconds)
        elif given.what == "stops":
            _stops(place, tally, n_cases=given.cases, seed=given.seed)
        elif given.what == "together":
            _together(place, tally, n_cases=given.cases)
        else:
            hows = ("before", "midst") if given.what == "writes" else ("full", "read-only")
            _at_operations(place, tally, hows=hows, first=given.first, every=given.every)
    finally:
        if given.root is None:
            os.chdir("/")
            shutil.rmtree(root, ignore_errors=True)
    shown = {"what": given.what, "command": given.command, "cases": tally.cases, "losses": len(tally.losses)}
    if tally.stops:
        shown |= {"stop_seconds": {"median": median(tally.stops), "longest": max(tally.stops)}}
    shown |= {"hangs": tally.hangs, "exit_codes": dict(sorted(tally.codes.items()))}
    print(json.dumps(shown | {"seconds": round(time.monotonic() - began), "seen": tally.losses[:50]}, indent=2))
    sys.exit(1 if tally.losses or tally.hangs else 0)


@dataclass(frozen=True)
class Place:
    """A folder with photos, an old run that must not change, and what the command gives when nobody disturbs it."""

    command: list[str]
    photos: dict[str, object]
    old: dict[str, object]
    wanted: dict[str, object]
    seconds: float  # of an undisturbed run, the base exported


def _import_everything() -> None:
    """Import what a training needs, and start nothing: no thread of TensorFlow may be there when forking."""
    import imgreg.api.compare
    import imgreg.api.study
    import imgreg.api.train  # noqa: F401
    import imgreg.heads.checkpoint as checkpoints
    from imgreg.lazy_imports import load_keras, load_openvino
    from imgreg.reports import figure
    from imgreg.training import record as record

    load_keras()
    load_openvino()
    checkpoints.FIRST_SECONDS, checkpoints.WRITING_SHARE = 0.0, 1.0  # these heads take milliseconds an epoch
    figure.DPI, record.N_MAPS = 40, 1  # drawing is half of such a small run: as many files, sooner


def _laid_out(command: list[str]) -> Place:
    draw = np.random.default_rng(0)
    for number in range(24):
        label = ("cold", "warm")[number % 2]
        Path("photos", label).mkdir(parents=True, exist_ok=True)
        clouds = Image.fromarray(draw.normal(0, 60, (5, 5)).astype(np.float32)).resize((48, 40))
        pixels = np.array([90, 128, 170])[:: 1 if label == "cold" else -1] + np.asarray(clouds)[:, :, None]
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(f"photos/{label}/{number:02}.png")
    began, has_base = time.monotonic(), Path("cache/base").is_dir()
    _succeed([*COMMANDS["train"], "--name", "old"])  # exports the base if it is not there
    wanted = _given("old")
    if not has_base or command != COMMANDS["train"]:
        _fresh()
        began = time.monotonic()
        _succeed([*command, "--name", "new"])
        wanted = _given()
    seconds = time.monotonic() - began
    _fresh()
    return Place(command, _tree(Path("photos"), times=True), _tree(Path("models/old")), wanted, seconds)


def _fresh() -> None:
    """As before the command: the old run, and of the cache the exported base only."""
    for path in (*Path("models").iterdir(), *Path("cache").iterdir()):
        if path.is_file():
            path.unlink()
        elif path.name not in ("old", "base", ".locks"):
            shutil.rmtree(path)


def _kills(place: Place, tally: Tally, *, n_cases: int, seed: int, within: float) -> None:
    draw, n_in_a_row = random.Random(seed), 0
    while tally.cases < n_cases or n_in_a_row:
        ends = n_in_a_row == KILLS_IN_A_ROW or tally.cases == n_cases
        child = _start([*place.command, "--name", "new", *(["--resume"] if n_in_a_row else [])])
        killed_after = within * draw.random() ** 2  # what goes on has less to do than the first
        if not ends and not _ended_within(child, killed_after):
            os.kill(child, signal.SIGKILL)
        code = _wait(child, tally)
        if code == -signal.SIGKILL:
            tally.cases += 1
            n_in_a_row += 1
            tally.note(f"kill {tally.cases} after {killed_after:.2f} s", _torn(place))
            continue
        tally.codes[code] += 1
        tally.note(f"end after {tally.cases} kills", _after(place, code))
        _fresh()
        n_in_a_row = 0


def _stops(place: Place, tally: Tally, *, n_cases: int, seed: int) -> None:
    draw = random.Random(seed)
    while tally.cases < n_cases:
        shutil.rmtree("cache")  # the base is exported anew too
        child = _start([*place.command, "--name", "new"])
        after = draw.uniform(0, 2 * place.seconds)
        if not _ended_within(child, after):
            os.kill(child, signal.SIGTERM)
            began = time.monotonic()
            _ended_within(child, HANG_SECONDS)
            tally.stops.append(round(time.monotonic() - began, 2))
        code = _wait(child, tally)
        tally.cases += 1
        tally.codes[code] += 1
        problems = _torn(place)
        if code not in (0, 143):
            problems.append(f"exit {code}, expected 143")
        if code == 143 and any(path.name.endswith(".partial") for path in Path("models").iterdir()):
            problems.append("a half-made run was left")
        if tally.stops and tally.stops[-1] > 5:
            problems.append(f"took {tally.stops[-1]} s to stop")
        tally.note(f"stop {tally.cases} after {after:.2f} s", problems)
        Path("cache").mkdir(exist_ok=True)
        _fresh()


def _at_operations(place: Place, tally: Tally, *, hows: tuple[str, ...], first: int, every: int) -> None:
    kinds = _counted(place)
    print(
        f"{len(kinds)} operations on the disk in an undisturbed run, {kinds.count('w')} of them writes", file=sys.stderr
    )
    _fresh()
    for number in range(first, len(kinds) + 1, every):
        for how in hows:
            if how == "midst" and kinds[number - 1] != "w":
                continue
            case = f"{how} operation {number}"
            with tempfile.TemporaryFile() as said:
                child = _start([*place.command, "--name", "new"], arm=(MODES[how], number), stderr=said.fileno())
                code = _wait(child, tally)
                said.seek(0)
                told = said.read().decode()
            tally.cases += 1
            tally.codes[code] += 1
            problems = _torn(place)
            if how in ("full", "read-only") and code not in (0, 5):
                problems.append(f"exit {code}, expected 5: {told[-600:]}")
            if how in ("full", "read-only") and code == 5 and not ("/" in told and len(told) < 2000):
                problems.append(f"exit 5 without a path: {told[-600:]}")
            tally.note(case, problems)
            if code != 0:
                _shown_as_whole(place, tally, case)
            _fresh()


def _shown_as_whole(place: Place, tally: Tally, case: str) -> None:
    """The command again, undisturbed; where the run was named before the kill there is nothing left to do."""
    if Path("models/new").exists():
        return
    tally.note(f"{case}, then on", _after(place, _wait(_start([*place.command, "--name", "new", "--resume"]), tally)))


def _together(place: Place, tally: Tally, *, n_cases: int) -> None:
    for case in range(1, n_cases + 1):
        names = ["new"] * 6 + ["beside-1", "beside-2"]
        children = [_start([*place.command, "--name", name]) for name in names]
        codes = [_wait(child, tally) for child in children]
        tally.cases += 1
        tally.codes.update(codes)
        problems = _torn(place)
        if codes[:6].count(0) != 1 or not set(codes[:6]) <= {0, 2, 6} or codes[6:] != [0, 0]:
            problems.append(f"exit codes {codes}: expected one 0 of six, the others 6 (busy) or 2 (there already), 0 0")
        for name in ("new", "beside-1", "beside-2"):
            if _given(name) != place.wanted:
                problems.append(f"{name} is not what it is alone: {_differing(_given(name), place.wanted)}")
        tally.note(f"together {case}", problems)
        _fresh()


def _counted(place: Place) -> str:
    """The operations that an undisturbed run makes, a letter each; w is a write."""
    counter = Path("count").absolute()
    code = _wait(_start([*place.command, "--name", "new"], arm=(0, 0), counter=counter), Tally())
    assert code == 0, code
    return counter.read_text()


def _torn(place: Place) -> list[str]:
    """What is not as it should be, right after a fault: photos and old runs the same, visible runs whole."""
    from imgreg.errors import ArtefactError
    from imgreg.heads.store import load_head
    from imgreg.runs.checksums import changed_files, read_sums
    from imgreg.runs.folder import read_run

    problems = []
    if _tree(Path("photos"), times=True) != place.photos:
        problems.append("the photos changed")
    if _tree(Path("models/old")) != place.old:
        problems.append("an older run changed")
    for run in Path("models").glob("[!.]*"):
        if not (run / "model.json").is_file() and (run / "head.safetensors").exists():
            problems.append(f"{run} is not whole")
        if not (run / "model.json").is_file():
            continue
        try:
            read_run(run)
            load_head(run)
        except ArtefactError as error:
            problems.append(f"{run}: {error}")
        if read_sums(run) is None or changed_files(run):
            problems.append(f"{run}: {changed_files(run) or 'no SHA256SUMS'}")
    return problems


def _after(place: Place, code: int) -> list[str]:
    """What is not as it should be after the command came to its end."""
    problems = _torn(place)
    if code != 0:
        problems.append(f"the command that goes on ended with {code}")
    elif _given() != place.wanted:
        problems.append(f"it gave something else: {_differing(_given(), place.wanted)}")
    left = [path.name for path in Path("models").iterdir() if path.name.endswith(".partial")]
    left += [path.name for path in Path("cache/checkpoints").glob("*")]
    return problems + ([f"left behind: {left}"] if left and code == 0 else [])


def _given(name: str = "new") -> dict[str, object]:
    """All that a command gives and that must be the same each time: files, and the history without its seconds."""
    found: dict[str, object] = {}
    for path in sorted(Path("models").glob(f"{name}*/*")):
        where = f"{path.parent.name.replace(name, 'new', 1)}/{path.name}"
        if path.name in SAME:
            found[where] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.name == "history.csv":
            rows = csv.DictReader(io.StringIO(path.read_text()))
            found[where] = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    return found


def _differing(one: dict[str, object], other: dict[str, object]) -> list[str]:
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def _tree(root: Path, *, times: bool = False) -> dict[str, object]:
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns if times else 0)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _succeed(arguments: list[str]) -> None:
    code = _wait(_start(arguments, stderr=2), Tally())
    assert code == 0, (arguments, code)


def _start(
    arguments: list[str], *, arm: tuple[int, int] | None = None, counter: Path | None = None, stderr: int | None = None
) -> int:
    """Fork; the child is `imgreg` with these arguments. Its shim is armed with (mode, operation)."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent if stderr is None else stderr, 2)
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        from imgreg.cli import main as imgreg

        if arm is not None:
            shim = ctypes.CDLL(os.environ["FAULTS_SHIM"])
            below = [os.fsencode(Path(name).absolute()) for name in ("models", "cache")]
            shim.faults_arm(arm[0], ctypes.c_long(arm[1]), *below)
        sys.argv = ["imgreg", *arguments]
        try:
            imgreg()
        except SystemExit as end:
            code = int(end.code or 0)
        if counter is not None:
            shim.faults_kinds.restype = ctypes.c_char_p
            counter.write_text(shim.faults_kinds().decode())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, tally: Tally) -> int:
    """Its exit code, or less the signal that ended it; a process that hangs is counted and killed."""
    if not _ended_within(child, HANG_SECONDS):
        tally.hangs += 1
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _ended_within(child: int, seconds: float) -> bool:
    """Wait for the child's end, so long at most; its exit code is still to be had."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return True
        time.sleep(0.01)
    return False


if __name__ == "__main__":
    main()
