"""What a command that trains is given beside photos and settings, as one value.

The command line and the notebooks' Workspace each make one; everything below takes it whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgreg.config import CurveStyle
from imgreg.progress import Watcher
from imgreg.worker_pool import WorkerPool


@dataclass(frozen=True)
class Session:
    """One command at work: where it writes, what it may resume, and where its messages go.

    Attributes
    ----------
    models : Path
        Folder of the runs, in which the command makes its own.
    name : str or None
        Name of that own folder; by default time and what was done.
    command : str
        The command line, for the record; empty from Python.
    cache_bytes : int or None
        Maximum size of the feature cache in bytes; None for the usual 20 GB. Its folder is `paths.cache_folder`.
    resume : bool or None
        Resume an interrupted training of the same photos and settings: None if there is one; True, and say so if
        there is none; False never. The head comes out the same, to the bit.
    workers : int or None
        Processes that train at once, where many heads are trained; None for as many as pay. The heads are the same.
    ray : str or None
        Address of the Ray cluster that computes features and trains heads, instead of this machine's processes.
    pool : WorkerPool or None
        Workers that are kept from one batch of trainings to the next; None to start some for each batch.
    style : CurveStyle or None
        How curves are drawn; None as measured.
    callbacks : tuple of keras.callbacks.Callback
        Called while the head trains, which then starts at its first epoch and keeps no checkpoint.
    watcher : Watcher
        Receives warnings, progress and epochs; by default nobody.
    """

    models: Path = Path("models")
    name: str | None = None
    command: str = ""
    cache_bytes: int | None = None
    resume: bool | None = None
    workers: int | None = None
    ray: str | None = None
    pool: WorkerPool | None = None
    style: CurveStyle | None = None
    callbacks: tuple[Any, ...] = ()
    watcher: Watcher = field(default_factory=Watcher)
