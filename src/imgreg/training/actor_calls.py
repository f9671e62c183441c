"""Calls to actors of a Ray cluster, whose results come in any order. What a lost worker had is computed by another.

In: numbers of items, and a way to call an actor for one. Out: each item's result, once. Must not know: what actors do.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from imgreg.errors import MachineError
from imgreg.training.in_order import POLL_SECONDS, TRIES

CALLS_IN_FLIGHT = 2  # an actor: the next item is there when one is done
AWAY_SECONDS = 10.0  # a worker that cannot be reached is given nothing; then others repeat what it had
SILENT_SECONDS = 120.0  # without a result: then a warning is shown


def actor_results(
    ray: Any, n_items: int, *, start: Callable[[int, int], Any], n_actors: int, say: Callable[[str], None]
) -> Iterator[tuple[int, Any]]:
    """Have actors work on items, and give each item's number with its result, as they come.

    Parameters
    ----------
    ray : module
        Connected to the cluster.
    start : callable
        Calls an actor for an item, by their numbers.
    say : callable
        Shows a warning.

    Raises
    ------
    MachineError
        If workers are lost at one item several times. What an actor raises is raised as it was there.
    """
    coming, missing, tries = deque(range(n_items)), set(range(n_items)), Counter[int]()
    running: dict[Any, tuple[int, int, float]] = {}  # call: (actor, item, when it was made)
    heard, warned, away_until = time.monotonic(), False, [0.0] * n_actors
    while missing:
        for number in range(n_actors):
            while (
                time.monotonic() > away_until[number]
                and (item := _next_item(number, coming, list(running.values()))) is not None
            ):
                running[start(number, item)] = number, item, time.monotonic()
        if not running:  # every worker is away
            time.sleep(POLL_SECONDS)
        done, _ = ray.wait(list(running), timeout=POLL_SECONDS) if running else ([], [])
        if not done and not warned and time.monotonic() - heard > SILENT_SECONDS:
            say(
                f"The Ray cluster has returned nothing for {SILENT_SECONDS:.0f} s; still waiting. `ray status` "
                "shows its state."
            )
            warned = True
        for call in done:
            number, item, _ = running.pop(call)
            try:
                result = ray.get(call)
                heard = time.monotonic()
            except ray.exceptions.RayTaskError as error:
                raise raised_there(error) from None
            except ray.exceptions.RayError as error:
                away_until[number] = time.monotonic() + AWAY_SECONDS
                tries[item] += not isinstance(error, ray.exceptions.ActorUnavailableError)  # its machine is gone
                if tries[item] == TRIES:
                    raise MachineError(f"Workers of the Ray cluster were lost {TRIES} times: {error}") from error
                if item in missing:
                    coming.appendleft(item)
                continue
            if item in missing:
                missing.remove(item)
                yield item, result


def _next_item(actor: int, coming: deque[int], running: Sequence[tuple[int, int, float]]) -> int | None:
    """The next item for an actor: a new one, else, if it is idle, one that waits behind another at a busy actor.

    An actor whose machine is gone may never be started again: after some time an idle one repeats what it had.
    """
    own = [item for other, item, _ in running if other == actor]
    if len(own) < CALLS_IN_FLIGHT and coming:
        return coming.popleft()
    if own or coming:
        return None
    n_calls, first, long_ago = (
        Counter(item for _, item, _ in running),
        dict[int, int](),
        time.monotonic() - AWAY_SECONDS,
    )
    for other, item, _ in running:
        first.setdefault(other, item)
    return max(
        (item for other, item, at in running if n_calls[item] == 1 and (first[other] != item or at < long_ago)),
        default=None,
    )


def raised_there(error: Any) -> BaseException:
    """The error as it was raised on another machine, without Ray's traceback in its message."""
    cause: BaseException = error.cause
    return cause
