"""imgreg train: photos in, one run folder out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imgreg.config import CHEAP_BASELINES, Settings
from imgreg.reports.tensorboard import write_events
from imgreg.runs.checksums import write_sums
from imgreg.runs.summary import RunSummary
from imgreg.session import Session
from imgreg.training.new_folder import new_folder
from imgreg.training.record import record
from imgreg.training.train import conclude, train_heads


def train(
    data: Path,
    *,
    settings: Settings,
    session: Session,
    sanity_baselines: Sequence[str] = CHEAP_BASELINES,
    tensorboard: bool = False,
    read_all: bool = False,
) -> RunSummary:
    """Train one head and write its run folder, whole or not at all.

    Parameters
    ----------
    data : Path
        A folder of class folders, of split folders, or a manifest (CSV or JSON Lines).
    sanity_baselines : sequence of str
        Baselines beside the head, of config.SANITY_BASELINES.
    tensorboard : bool
        Write event files into the run's tensorboard/, epoch by epoch while it trains; until the run is whole its
        folder is called .NAME.partial.
    read_all : bool
        Read also the photos that have not changed since they were read last.

    Raises
    ------
    DatasetError
        If the photos cannot be used as a dataset.
    UsageError
        For a folder that exists, or settings that do not fit the photos.
    DivergedError
        If a loss became NaN or infinite: after the run was written, if there was an epoch before that to keep.
    """
    watcher = session.watcher
    with new_folder(session, data=data, kind=settings.recipe.name) as (folder, target):
        results = train_heads(
            data,
            [settings],
            session=session,
            sanity_baselines=sanity_baselines,
            event_folders=[folder] if tensorboard else [],
            read_all=read_all,
        )
        watcher.step("drawing the report", 0, 1, "")
        run = record(results[0], folder, target=target, session=session)
        watcher.step("drawing the report", 1, 1, "")
        if tensorboard:
            write_events(folder, run, live=True)
        write_sums(folder)
    conclude(results, [run], session=session)
    return run.summary
