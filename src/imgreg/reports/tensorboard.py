"""A run as event files for TensorBoard: train and validation under one tag a figure, learning rate, views, hparams.

In: a run. Out: files under tensorboard/. Refuses to know: how runs are made. The figures are those of the honest
history, not Keras' running ones. TensorBoard's own writer is used, not TensorFlow's.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from imgreg.runs.folder import Run

FOLDER = "tensorboard"
SIDES = {"train": "train", "validation": "val"}  # TensorBoard's run -> the history's columns
FIGURES = ("loss", "accuracy")


def write_events(folder: Path, run: Run) -> None:
    """Write tensorboard/{train,validation} into the folder where a run stands, or is being written.

    raises   OSError if the disk refuses
    """
    from tensorboard.plugins.hparams.summary import session_end_pb
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb

    ended = datetime.fromisoformat(run.summary.created).timestamp()
    passed = np.cumsum(run.history.column("seconds"))
    times = ended - passed[-1] + passed
    for name, column in SIDES.items():
        with _writer(folder / FOLDER / name) as add:
            for when, row in zip(times, run.history.epochs, strict=True):
                for figure in FIGURES:
                    add(scalar_pb(figure, getattr(row, f"{column}_{figure}")), step=row.epoch, when=when)
                if name == "train":
                    add(scalar_pb("learning_rate", row.learning_rate), step=row.epoch, when=when)
            if name == "train" and (folder / "views.png").is_file():
                add(_image_pb("views", folder / "views.png"), step=0, when=times[0])
    with _writer(folder / FOLDER) as add:
        add(hparams_pb(_hparams(run), trial_id=run.summary.name, start_time_secs=times[0]), step=0, when=times[0])
        add(session_end_pb(1, ended), step=0, when=ended)  # 1: STATUS_SUCCESS


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
    with _writer(folder / FOLDER) as add:
        add(experiment_pb([HParamInfo(name=key) for key in differing], metrics), step=0, when=0)


@contextmanager
def _writer(folder: Path) -> Iterator[Any]:
    """What adds a summary to a new event file in the folder."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder.mkdir(parents=True, exist_ok=True)
    writer = EventFileWriter(str(folder))

    def add(summary: Any, *, step: int, when: float) -> None:
        own = Summary.FromString(summary.SerializeToString())  # some of them are TensorFlow's twin of the class
        writer.add_event(Event(wall_time=when, step=step, summary=own))

    try:
        yield add
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
