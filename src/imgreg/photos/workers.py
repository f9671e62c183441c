"""Work on files that may be hostile, each in a process of its own with bounds on time and memory.

In: a function and its items. Out: results in order. A file that takes too long, too much memory, or the process with
it, costs its own result and nothing else. Refuses to know: what the work is.
"""

from __future__ import annotations

import os
import resource
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import TypeVar

from imgreg.errors import MachineError, PhotoError

SECONDS = 10.0
BYTES = 512 * 2**20
_AHEAD = 4  # items handed out before they are asked for, a process

T = TypeVar("T")
R = TypeVar("R")
F = TypeVar("F")


def in_workers(work: Callable[[T], R], items: Iterable[T], *, failed: Callable[[T, PhotoError], F]) -> Iterator[R | F]:
    """work(item) for each item, in order, a process a core. Some items are asked for ahead of what is given back.

    work     a function of a module, which returns what can be pickled; it may raise PhotoError
    failed   what stands for an item whose work was given up: codes too-slow, too-large and damaged
    raises   MachineError if no process can be started
    """
    from pebble import ProcessExpired, ProcessPool

    coming = iter(items)
    first = list(islice(coming, _AHEAD * (os.cpu_count() or 1)))
    if not first:
        return
    coming = chain(first, coming)
    context = _Context()
    context.set_forkserver_preload([getattr(work, "func", work).__module__])
    n_workers = min(os.cpu_count() or 1, len(first))
    pool = ProcessPool(max_workers=n_workers, initializer=_bounded, context=context)
    try:
        waiting: deque[tuple[T, object]] = deque()
        while True:
            while len(waiting) < _AHEAD * n_workers and (item := next(coming, None)) is not None:
                waiting.append((item, pool.schedule(work, args=(item,), timeout=SECONDS)))
            if not waiting:
                return
            item, future = waiting.popleft()
            try:
                yield future.result()  # type: ignore[attr-defined]
            except PhotoError as error:
                yield failed(item, error)
            except FutureTimeoutError:
                yield failed(item, PhotoError(f"reading took more than {SECONDS:g} seconds", code="too-slow"))
            except MemoryError:
                megabytes = BYTES // 2**20
                yield failed(item, PhotoError(f"reading took more than {megabytes} MB of memory", code="too-large"))
            except BrokenProcessPool as error:
                raise MachineError(
                    f"the processes that read photos cannot be started ({error}). Free some memory or raise the limits "
                    "on processes, then run the command again."
                ) from error
            except ProcessExpired as error:
                yield failed(item, PhotoError(f"reading it broke the reader (exit code {error.exitcode})"))
    finally:
        pool.stop()
        pool.join()


class _Process(ForkServerProcess):
    """Starts without the caller's main module, which multiprocessing would run once more in each process: a script or a
    notebook that uses imgreg need not guard against that."""

    def start(self) -> None:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main


class _Context(ForkServerContext):
    Process = _Process


def _bounded() -> None:
    """In each process: a bound on memory beyond what it has, and nothing of C libraries' remarks on stderr."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
