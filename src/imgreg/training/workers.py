"""Work done by several processes at once, in order. A process that is killed costs the item it was at, which is started
again.

In: a function of a module and its items. Out: a finished future for each item. Must not know: what the work is.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, TypeVar

from imgreg.errors import MachineError
from imgreg.fresh_process import FreshContext

TRIES = 3  # of an item whose process is killed
POLL_SECONDS = 0.2

T = TypeVar("T")
R = TypeVar("R")


def in_processes(
    work: Callable[[T], R],
    items: Sequence[T],
    *,
    n_at_once: int,
    wanted: Callable[[T], bool] = lambda _: True,
    on_wait: Callable[[int], None] = lambda _: None,
) -> Iterator[tuple[T, Future[R]]]:
    """Give each item, in order, with its finished future: its result, or what `work` raised. Close it to stop early.

    Parameters
    ----------
    work : callable
        A function of a module; items, results and errors are pickled.
    wanted : callable
        Asked before an item is started and before it is given; items that are no longer wanted are left out.
    on_wait : callable
        Called several times a second with the number of finished items; what it raises ends all processes.

    Raises
    ------
    MachineError
        If no process can be started, or those at one item are killed TRIES times.
    """
    coming, tries = deque(range(len(items))), Counter[int]()
    running: dict[int, Future[R]] = {}
    finished: dict[int, Future[R]] = {}
    with _pool(min(n_at_once, len(items))) as pool:
        for place, item in enumerate(items):
            while wanted(item) and place not in finished:
                while coming and len(running) < n_at_once:
                    if wanted(items[i := coming.popleft()]):
                        running[i] = pool.schedule(work, args=(items[i],))
                        tries[i] += 1
                on_wait(len(finished))
                wait(running.values(), timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                for i in [i for i, future in running.items() if future.done()]:
                    future = running.pop(i)
                    if not _was_killed(future):
                        finished[i] = future
                    elif tries[i] < TRIES:
                        coming.appendleft(i)
                    else:
                        raise MachineError(
                            f"A worker process was killed {TRIES} times at the same training ({future.exception()}). "
                            "The machine may lack memory: use --workers 1."
                        )
            if wanted(item):
                yield item, finished[place]


def usable_workers(*, bytes_each: int) -> int:
    """How many processes of this size there are cores and memory for, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return cores
    available = next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    return cores if available is None else max(1, min(cores, available // bytes_each))


def stop_without_parent() -> None:
    """In a worker: end it where the process that it works for is gone."""
    parent = parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)


def _was_killed(future: Future[Any]) -> bool:
    """Whether a future's process ended in the midst of its work. raises MachineError if none can be started"""
    from pebble import ProcessExpired

    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        raise MachineError(
            f"cannot start the processes that train ({error}). Free some memory, or use --workers 1."
        ) from error
    return isinstance(error, ProcessExpired)


@contextlib.contextmanager
def _pool(n_workers: int) -> Iterator[Any]:
    """Processes that end with the block, whatever they are at."""
    from pebble import ProcessPool

    pool = ProcessPool(max_workers=n_workers, context=FreshContext())
    try:
        yield pool
    finally:
        pool.stop()
        pool.join()
