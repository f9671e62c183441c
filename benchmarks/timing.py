"""What the benchmarks share: works timed in turn, and what was found printed for machines and for people."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

ROUNDS = 5


def seconds(work: Callable[[], object]) -> float:
    """How long one run of `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def medians_in_turn(works: Mapping[str, Callable[[], object]], *, rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each work. They take turns, so that a slow minute of the machine meets them all.

    The first round is a warm-up and does not count.
    """
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            took = seconds(work)
            if number:
                taken[name].append(took)
    return {name: statistics.median(values) for name, values in taken.items()}


def show(result: Mapping[str, Any], *lines: str) -> None:
    """One line of JSON, then a short table."""
    print(json.dumps(result))
    for line in lines:
        print(line)
