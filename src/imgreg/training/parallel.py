"""Several heads trained at once on the same kept features, where the machine has cores to spare."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from imgreg.progress import Watcher
from imgreg.reports.tensorboard import LiveEvents
from imgreg.training.dataset import Dataset
from imgreg.training.fit import Outcome, Prepared, fit_on

CORES_A_HEAD = 4  # a step is bound by memory: more cores bring one head little


def fit_in_parallel(
    dataset: Dataset,
    prepared: Sequence[Prepared],
    *,
    resume: bool | None = None,
    watcher: Watcher,
    n_at_once: int | None = None,
    events: Sequence[LiveEvents] = (),
) -> list[Outcome]:
    """Train a head for each; each comes out as it would alone. The first error stops the others within some steps.

    n_at_once   by default one for every four cores
    events      TensorBoard's files of each, where they are wanted
    """
    stopped = threading.Event()

    def on_step() -> None:
        if stopped.is_set():
            raise _StoppedError

    def fit(one: Prepared, written: LiveEvents | None) -> Outcome:
        return fit_on(dataset, one, resume=resume, watcher=watcher, on_step=on_step, events=written)

    with ThreadPoolExecutor(n_at_once or max(1, (os.cpu_count() or 1) // CORES_A_HEAD)) as pool:
        futures = [pool.submit(fit, one, events[i] if events else None) for i, one in enumerate(prepared)]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()  # raises what went wrong
            return [future.result() for future in futures]
        except BaseException:
            stopped.set()
            for future in futures:
                future.cancel()
            raise


class _StoppedError(Exception):
    """Another head failed, or the user asked to stop."""
