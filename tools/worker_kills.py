"""Kill the workers of a study at random moments, and sometimes the whole command; the table must stay the same.

usage: python tools/worker_kills.py [--kills 20] [--workers 2] [--seed 1] [--data datasets/leaves] [STUDY OPTION...]

Runs a study undisturbed with one process, then the same study with workers again and again, each from its first trial,
until so many workers were killed (SIGKILL). One kill in five takes the command instead, which is then given again and
resumes; so is a command that gives up because three workers were killed at the same trial. Every study that ends is
compared with the undisturbed one byte by byte: the table and every trial. Prints one JSON object; exit code 1 for any
difference, or a process that outlives its command.
needs: imgreg, psutil
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
SMALL = (
    "--weights",
    "starter",
    "--image-size",
    "64",
    "--topic",
    "dropout",
    "--repeats",
    "2",
    "--sanity-baselines",
    "none",
    "--epochs",
    "20",
)
COMMAND_SHARE = 0.2  # of the kills
KILLS_A_STUDY = 5  # at most, so that it comes to an end
SAME = ("table.csv", "trials.json")
GONE_SECONDS = 120  # a worker that imports TensorFlow does not look for its command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", type=Path, default=ROOT / "datasets" / "leaves")
    given, options = parser.parse_known_args()
    draw, counts, problems = random.Random(given.seed), Counter[str](), list[str]()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="imgreg-worker-kills-") as root:
        models, cache = Path(root, "models"), Path(root, "cache")
        os.environ["IMGREG_CACHE"] = str(cache)

        def start(name: str, workers: int) -> subprocess.Popen[bytes]:
            words = ["study", str(given.data), *SMALL, *options, "--workers", str(workers), "--models", str(models)]
            return subprocess.Popen(
                [sys.executable, "-m", "imgreg", *words, "--name", name, "-q"],
                stdout=subprocess.DEVNULL,
                stderr=Path(root, "said").open("ab"),
                env=os.environ | {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
            )

        if start("undisturbed", 1).wait():
            sys.exit(Path(root, "said").read_text())
        wanted = [(models / "undisturbed" / name).read_bytes() for name in SAME]
        usual = time.monotonic() - began
        while counts["workers"] < given.kills:
            for kept in ("trials", "checkpoints"):
                shutil.rmtree(cache / kept, ignore_errors=True)
            name = f"study-{counts['studies']}"
            again = functools.partial(start, name, given.workers)
            problems += _study(again, draw, counts, kills=given.kills, every_seconds=usual / KILLS_A_STUDY)
            if [(models / name / file).read_bytes() for file in SAME] != wanted:
                problems.append(f"{name}: another table or other trials")
            counts["studies"] += 1
            print(f"{counts['studies']} studies, {counts['workers']} workers killed", file=sys.stderr, flush=True)
    print(json.dumps(dict(counts) | {"seconds": round(time.monotonic() - began), "problems": problems}, indent=2))
    sys.exit(1 if problems else 0)


def _study(
    start: Callable[[], subprocess.Popen[bytes]],
    draw: random.Random,
    counts: Counter[str],
    *,
    kills: int,
    every_seconds: float,
) -> list[str]:
    """One study, given again until it ends. Returns what outlived it."""
    n_before, problems = counts["workers"], []
    while True:
        command = start()
        while command.poll() is None:
            try:
                command.wait(timeout=draw.expovariate(1 / every_seconds))
            except subprocess.TimeoutExpired:
                workers, n_killed = _workers(command.pid), counts["workers"]
                if not workers or n_killed == kills or n_killed - n_before == KILLS_A_STUDY:
                    continue
                if draw.random() < COMMAND_SHARE:
                    command.kill()
                    counts["commands"] += 1
                    _, left = psutil.wait_procs(workers, timeout=GONE_SECONDS)
                    problems += [f"process {one.pid} outlived its command" for one in left]
                else:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        draw.choice(workers).kill()
                        counts["workers"] += 1
        if command.returncode == 0:
            return problems
        counts[f"exit code {command.returncode}"] += 1
        assert sum(counts.values()) < 10 * kills, "the study does not come to an end"


def _workers(command: int) -> list[psutil.Process]:
    """The processes that a command's fork servers have started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        servers = [one for one in psutil.Process(command).children() if any("forkserver" in w for w in one.cmdline())]
        return [worker for server in servers for worker in server.children()]
    return []


if __name__ == "__main__":
    main()
