"""Trials trained by one process against those by several workers: python benchmarks/workers.py DATA [SIZE_PX [N]]

Eight recipes on three repeated splits, 20 epochs each. Features are in the cache before anything is timed; the ways
take turns, and every trial of each is trained anew. The trials must be the same to the bit.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from timing import seconds, show

from imgreg.config import Settings
from imgreg.progress import Watcher
from imgreg.recipes.topics import plan_study
from imgreg.session import Session
from imgreg.training.resampling import ResampledDataset, resample_dataset
from imgreg.training.trials import Grid, run_trials

ROUNDS = 3
N_RECIPES, N_REPEATS, N_EPOCHS = 8, 3, 20


def main(data: Path, size_px: int = 128, n_workers: int = 2) -> None:
    options = {"weights": "starter", "image_size": size_px, "epochs": N_EPOCHS}
    settings = plan_study(["weights", "dropout"], options).settings[:N_RECIPES]
    resampled = resample_dataset(data, settings[0], repeats=N_REPEATS, session=Session())
    taken: dict[int, list[float]] = {1: [], n_workers: []}
    grids: dict[int, Grid] = {}

    def train(workers: int) -> None:
        grids[workers] = trials(resampled, settings, workers=workers)

    trials(resampled, settings[:1], workers=1)  # loads Keras, and computes the features
    loads = [os.getloadavg()[0]]
    for _ in range(ROUNDS):
        for workers, times in taken.items():
            times.append(seconds(lambda workers=workers: train(workers)))  # type: ignore[misc]
            loads.append(os.getloadavg()[0])
    assert grids[1] == grids[n_workers]
    one, several = (statistics.median(times) for times in taken.values())
    show(
        {"image_size": size_px, "n_photos": len(resampled.index.photos), "n_trials": N_RECIPES * N_REPEATS}
        | {"seconds": {str(n): [round(t, 1) for t in times] for n, times in taken.items()}}
        | {"cores": os.cpu_count(), "load": [round(load, 1) for load in loads], "ratio": round(one / several, 2)},
        f"1 process   {one:7.1f} s",
        f"{n_workers} workers   {several:7.1f} s",
        f"{one / several:.2f} times as fast; the trials are the same to the bit",
    )


def trials(resampled: ResampledDataset, settings: tuple[Settings, ...], *, workers: int) -> Grid:
    session = Session(workers=workers, resume=False, watcher=Watcher(say=print))
    return run_trials(resampled, settings=settings, session=session)


if __name__ == "__main__":
    if "IMGREG_CACHE" not in os.environ:
        os.environ["IMGREG_CACHE"] = tempfile.mkdtemp(prefix="imgreg-workers-")
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
