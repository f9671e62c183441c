"""Items in, finished futures out, in the order of the items, whoever works on them."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

from imgreg.errors import MachineError

TRIES = 3  # of an item whose worker is gone
POLL_SECONDS = 0.2

T = TypeVar("T")
R = TypeVar("R")


def in_order(
    items: Sequence[T],
    *,
    start: Callable[[T], Future[R]],
    is_lost: Callable[[Future[R]], bool],
    advice: str,
    n_at_once: int,
    wanted: Callable[[T], bool],
    on_wait: Callable[[int], None],
) -> Iterator[tuple[T, Future[R]]]:
    """`WorkerPool.map`, whoever works: keep so many items started, and give each with its future, in order.

    Parameters
    ----------
    start : callable
        Starts an item.
    is_lost : callable
        Whether a future, finished or not, will have no result because its worker is gone; its item is started again.
    advice : str
        What to do if an item's workers are lost TRIES times.
    """
    coming, tries = deque(range(len(items))), Counter[int]()
    running: dict[int, Future[R]] = {}
    finished: dict[int, Future[R]] = {}  # and not given yet
    n_finished = 0
    try:
        for place, item in enumerate(items):
            while wanted(item) and place not in finished:
                while coming and len(running) < n_at_once:
                    if wanted(items[i := coming.popleft()]):
                        running[i] = start(items[i])
                        tries[i] += 1
                on_wait(n_finished)
                wait(running.values(), timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                for i, future in list(running.items()):
                    if is_lost(future):
                        if tries[i] == TRIES:
                            cause = f" ({future.exception()})" if future.done() else ""
                            raise MachineError(
                                f"Task {i + 1} of {len(items)} failed {TRIES} times, because its worker process "
                                f"ended{cause}. {advice}"
                            )
                        coming.appendleft(i)
                    elif future.done():
                        finished[i] = future
                        n_finished += 1
                    else:
                        continue
                    del running[i]
            if wanted(item):
                yield item, finished.pop(place)
    finally:
        for future in running.values():
            future.cancel()
