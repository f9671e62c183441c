"""A run as event files for TensorBoard: train and validation under one tag a figure, learning rate, views, hparams,
the head's graph, and histograms of its weights and outputs.

In: a run, or its epochs while it trains. Out: files under tensorboard/. Must not know: how runs are made. The figures
are those of the honest history, not Keras' running ones. TensorBoard's own writer is used, not TensorFlow's.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from imgreg.runs.folder import Run

if TYPE_CHECKING:
    from imgreg.runs.history import Epoch
    from imgreg.runs.layers import LayerValues

FOLDER = "tensorboard"
SIDES = {"train": "train", "validation": "val"}  # TensorBoard's run -> the history's columns
FIGURES = ("loss", "accuracy")


class LiveEvents:
    """Event files that are written while a head trains, readable after each epoch. A context manager.

    Parameters
    ----------
    folder : Path
        The run's folder, or the one that it is being written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._writers = {name: self._open.enter_context(_writer(self._folder / FOLDER / name)) for name in SIDES}
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def graph(self, graph_def: bytes) -> None:
        """Write the head's graph, a serialized GraphDef."""
        self._writers["train"].graph(graph_def, when=time.time())

    def epoch(self, row: Epoch) -> None:
        """Write an epoch's figures, to disk at once."""
        for name in SIDES:
            _add_epoch(self._writers[name], row, side=name, when=time.time())
            self._writers[name].flush()

    def layers(self, epoch: int, values: Mapping[str, LayerValues]) -> None:
        """Write histograms of each layer's weights and outputs, and the norm of its gradient."""
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        writer = self._writers["train"]
        for layer, of in values.items():
            writer.add(histogram_pb(f"{layer}/weights", of.weights), step=epoch, when=time.time())
            writer.add(histogram_pb(f"{layer}/outputs", of.outputs), step=epoch, when=time.time())
            writer.add(scalar_pb(f"{layer}/gradient_norm", of.gradient_norm), step=epoch, when=time.time())


def write_events(folder: Path, run: Run, *, live: bool = False) -> None:
    """Write tensorboard/{train,validation} into the folder of a run.

    Parameters
    ----------
    live : bool, optional
        The epochs are there already, written by LiveEvents.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    from tensorboard.plugins.hparams.summary import session_end_pb
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    ended = datetime.fromisoformat(run.summary.created).timestamp()
    passed = np.cumsum(run.history.column("seconds"))
    times = ended - passed[-1] + passed
    for name in SIDES:
        with _writer(folder / FOLDER / name) as writer:
            for when, row in zip(times, () if live else run.history.epochs, strict=not live):
                _add_epoch(writer, row, side=name, when=when)
            if name == "train" and (folder / "views.png").is_file():
                writer.add(_image_pb("views", folder / "views.png"), step=0, when=times[0])
    with _writer(folder / FOLDER) as writer:
        start = hparams_pb(_hparams(run), trial_id=run.summary.name, start_time_secs=times[0])
        writer.add(start, step=0, when=times[0])
        writer.add(session_end_pb(1, ended), step=0, when=ended)  # 1: STATUS_SUCCESS


def write_experiment(folder: Path, runs: Sequence[Run]) -> None:
    """Write into a comparison's folder which settings differ between its runs, for TensorBoard's hparams."""
    from tensorboard.plugins.hparams.api_pb2 import HParamInfo, MetricInfo, MetricName
    from tensorboard.plugins.hparams.summary import experiment_pb

    tables = [_hparams(run) for run in runs]
    keys = dict.fromkeys(key for table in tables for key in table)
    differing = [key for key in keys if len({table.get(key) for table in tables}) > 1]
    metrics = [
        MetricInfo(name=MetricName(group=side, tag=figure), display_name=f"{figure} ({side})")
        for side in SIDES
        for figure in FIGURES
    ]
    with _writer(folder / FOLDER) as writer:
        writer.add(experiment_pb([HParamInfo(name=key) for key in differing], metrics), step=0, when=0)


def _add_epoch(writer: _Writer, row: Epoch, *, side: str, when: float) -> None:
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    for figure in FIGURES:
        writer.add(scalar_pb(figure, getattr(row, f"{SIDES[side]}_{figure}")), step=row.epoch, when=when)
    if side == "train":
        writer.add(scalar_pb("learning_rate", row.learning_rate), step=row.epoch, when=when)


class _Writer:
    """Adds to a new event file in a folder."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._file = EventFileWriter(str(folder))
        self.flush, self.close = self._file.flush, self._file.close

    def add(self, summary: Any, *, step: int, when: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        own = Summary.FromString(summary.SerializeToString())  # some of them are TensorFlow's twin of the class
        self._file.add_event(Event(wall_time=when, step=step, summary=own))

    def graph(self, graph_def: bytes, *, when: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._file.add_event(Event(wall_time=when, graph_def=graph_def))


@contextmanager
def _writer(folder: Path) -> Iterator[_Writer]:
    writer = _Writer(folder)
    try:
        yield writer
    finally:
        writer.close()


def _image_pb(tag: str, png: Path) -> Any:
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.image.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    with Image.open(png, formats=("PNG",)) as image:
        size = [str(side).encode() for side in image.size]
    metadata = create_summary_metadata(display_name=None, description="Train photos and their first augmented views")
    tensor = make_tensor_proto([*size, png.read_bytes()])
    return Summary(value=[Summary.Value(tag=tag, tensor=tensor, metadata=metadata)])


def _hparams(run: Run) -> dict[str, bool | float | str]:
    """The recipe and the seed, flat, in TensorBoard's types."""
    settings = tomllib.loads(run.config_toml)
    flat: dict[str, bool | float | str] = {"seed": settings.get("seed", 0), "recipe": run.summary.recipe}
    for table in ("head", "optimizer", "training", "augmentation", "prediction"):
        for key, value in settings.get("recipe", {}).get(table, {}).items():
            flat[f"{table}.{key}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat
