"""Work done ahead in threads, in order and within bounds, so that decoding overlaps with the base."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Job = TypeVar("Job")
Done = TypeVar("Done")

_AHEAD = 8  # photos, with all their views; bounds the memory between decoding and the base


def read_ahead(work: Callable[[Job], Done], jobs: Iterable[Job], *, ahead: int = _AHEAD) -> Iterator[Done]:
    """Do the work in threads, in order, at most `ahead` jobs before the one that is asked for."""
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        rest = iter(jobs)
        running: deque[Future[Done]] = deque(pool.submit(work, job) for job in islice(rest, ahead))
        try:
            while running:
                done = running.popleft().result()
                running.extend(pool.submit(work, job) for job in islice(rest, 1))
                yield done
        finally:
            for future in running:
                future.cancel()
