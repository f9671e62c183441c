"""Work done by several processes at once, in order. A process that is killed costs the item it was at, which is started
again.

In: a function of a module and its items. Out: a finished future for each item. Must not know: what the work is.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, TypeVar

from imgreg.errors import MachineError
from imgreg.fresh_process import FreshContext
from imgreg.session import Session
from imgreg.training.in_order import in_order
from imgreg.training.ray_cluster import RayCluster

T = TypeVar("T")
R = TypeVar("R")


@contextlib.contextmanager
def open_workers(session: Session) -> Iterator[Session]:
    """The session with a pool of workers: its own, or else a new one, which ends with the block.

    Raises
    ------
    MachineError
        If the Ray cluster that the session names does not answer.
    """
    if session.pool is not None:
        yield session
    elif session.ray is not None:
        with RayCluster(session.ray, n_workers=session.workers, watcher=session.watcher) as cluster:
            yield replace(session, pool=cluster)
    else:
        with LocalPool(session.workers) as pool:
            yield replace(session, pool=pool)


class LocalPool:
    """Processes of this machine, a `WorkerPool`. They are started when `map` first needs them, and end with the block,
    even if they are busy.
    """

    def __init__(self, n_workers: int | None = None) -> None:
        """
        Parameters
        ----------
        n_workers : int, optional
            By default as many as there are cores and memory for when they are started.
        """
        self._n_given, self._n_started, self._bytes_each = n_workers, 0, 0
        self._pool: Any = None

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    @property
    def is_started(self) -> bool:
        return self._n_started > 0

    def n_workers(self, *, bytes_each: int) -> int:
        """As given, else as many as there are cores and memory for; no more than run already."""
        if self._n_given:
            return self._n_given
        if not self.is_started:
            self._bytes_each = bytes_each
            return usable_workers(bytes_each=bytes_each)
        held = self._n_started * self._bytes_each
        return min(self._n_started, usable_workers(bytes_each=bytes_each, held=held))

    def map(
        self,
        work: Callable[[T], R],
        items: Sequence[T],
        *,
        n_at_once: int,
        wanted: Callable[[T], bool] = lambda _: True,
        on_wait: Callable[[int], None] = lambda _: None,
    ) -> Iterator[tuple[T, Future[R]]]:
        """As `WorkerPool.map`. A process at an item that is given up is ended."""
        pools: dict[Future[R], Any] = {}

        def start(item: T) -> Future[R]:
            pool, future = self._schedule(work, item, n_at_once=n_at_once)
            pools[future] = pool
            return future

        def is_lost(future: Future[R]) -> bool:
            if not future.done():
                return not pools[future].active
            del pools[future]
            return _was_killed(future)

        return in_order(
            items,
            start=start,
            is_lost=is_lost,
            advice="The machine may lack memory: use --workers 1.",
            n_at_once=n_at_once,
            wanted=wanted,
            on_wait=on_wait,
        )

    def _schedule(self, work: Callable[[T], R], item: T, *, n_at_once: int) -> tuple[Any, Future[R]]:
        """Hand an item to the processes, which are restarted if there are too few."""
        if self._n_started < n_at_once:
            self._start(n_at_once)
        try:
            return self._pool, self._pool.schedule(work, args=(item,))
        except RuntimeError:  # pebble gives up the pool when a process is killed while none has anything to do
            self._start(n_at_once)
            return self._pool, self._pool.schedule(work, args=(item,))

    def _start(self, n_workers: int) -> None:
        from pebble import ProcessPool

        self._stop()
        self._pool, self._n_started = ProcessPool(max_workers=n_workers, context=FreshContext()), n_workers

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
        self._pool, self._n_started = None, 0


def usable_workers(*, bytes_each: int, held: int = 0) -> int:
    """How many processes of this size there are cores and memory for, at least 1.

    Parameters
    ----------
    held : int
        Bytes that the same processes hold already.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return cores
    available = next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
    return cores if available is None else max(1, min(cores, (available + held) // bytes_each))


def stop_without_parent() -> None:
    """In a worker: end it where the process that it works for is gone."""
    parent = parent_process()
    if parent is not None and not parent.is_alive():
        os._exit(1)


def _was_killed(future: Future[Any]) -> bool:
    """Whether a future's process ended before it finished. raises MachineError if none can be started"""
    from pebble import ProcessExpired

    error = future.exception()
    if isinstance(error, BrokenProcessPool) and isinstance(error.__cause__, OSError | EOFError):
        raise MachineError(
            f"cannot start the processes that train ({error.__cause__}). Free some memory, or use --workers 1."
        ) from error
    return isinstance(error, ProcessExpired | BrokenProcessPool)
