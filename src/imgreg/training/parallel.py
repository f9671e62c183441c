"""Several heads trained at once on the same cached features, where the machine has cores to spare."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from imgreg.reports.tensorboard import LiveEvents
from imgreg.session import Session
from imgreg.training.dataset import Dataset
from imgreg.training.fit import Outcome, fit_on
from imgreg.training.prepare import Prepared

CORES_A_HEAD = 4  # a step is bound by memory: more cores bring one head little


def fit_in_parallel(
    dataset: Dataset,
    prepared: Sequence[Prepared],
    *,
    session: Session,
    n_at_once: int | None = None,
    events: Sequence[LiveEvents] = (),
) -> list[Outcome]:
    """Train a head for each recipe; each comes out as it would alone.

    The first error stops the others within some steps.

    Parameters
    ----------
    n_at_once : int, optional
        By default one for every four cores.
    events : sequence of LiveEvents
        TensorBoard's files of each; empty for none.
    """
    if len(prepared) == 1:
        return [fit_on(dataset, prepared[0], session=session, events=events[0] if events else None)]
    stopped = threading.Event()

    def on_step() -> None:
        if stopped.is_set():
            raise _StoppedError

    def fit(one: Prepared, written: LiveEvents | None) -> Outcome:
        return fit_on(dataset, one, session=session, on_step=on_step, events=written)

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
