"""The interface of a pool of workers: processes on this machine or on others.

In: nothing. Out: the interface alone. Must not know: which work it is, who does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class WorkerPool(Protocol):
    """A pool of worker processes that is kept for the length of a command."""

    @property
    def is_started(self) -> bool:
        """Whether the workers are already running."""

    def n_workers(self, *, bytes_each: int) -> int:
        """Number of items that can run at the same time if each needs `bytes_each` of memory; at least 1."""

    def map(
        self,
        work: Callable[[T], R],
        items: Sequence[T],
        *,
        n_at_once: int,
        wanted: Callable[[T], bool] = lambda _: True,
        on_wait: Callable[[int], None] = lambda _: None,
    ) -> Iterator[tuple[T, Future[R]]]:
        """Give each item, in order, with its finished future: its result, or what `work` raised. Close it to
        stop early.

        Parameters
        ----------
        work : callable
            A function of a module; items, results and errors are pickled.
        wanted : callable
            Asked before an item is started and before it is given; items that are no longer wanted are left out.
        on_wait : callable
            Called several times a second with the number of finished items; what it raises stops the work.

        Raises
        ------
        MachineError
            If no worker can be started, or those at one item end without a result several times.
        """
