"""--tensorboard: event files can be read while the head trains, and hold its graph and histograms."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Trained, imgreg
from imgreg.api.train import train
from imgreg.config import Base, Photos, Settings
from imgreg.progress import Watcher
from imgreg.recipes import load_recipe
from imgreg.runs.folder import read_run
from imgreg.session import Session


def accumulated(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()


def losses(folder: Path) -> dict[int, float]:
    from tensorboard.util.tensor_util import make_ndarray

    return {event.step: float(make_ndarray(event.tensor_proto)) for event in accumulated(folder).Tensors("loss")}


def test_each_epoch_is_readable_when_it_ends(trained: Trained, tmp_path: Path) -> None:
    """Both sides' losses so far, while the run is still a partial folder; afterwards nothing is there twice."""
    from tensorboard.util.tensor_util import make_ndarray

    live: list[tuple[dict[int, float], dict[int, float]]] = []

    def look(_: str, row: object) -> None:
        (partial,) = tmp_path.glob(".*.partial")
        live.append((losses(partial / "tensorboard" / "train"), losses(partial / "tensorboard" / "validation")))

    settings = Settings(
        base=Base(weights="starter", image_size=64),
        photos=Photos(folds=0),
        recipe=load_recipe("plain", overrides={"head.units": [8, 4], "training.epochs": 3}),
    )
    train(
        trained.data,
        settings=settings,
        session=Session(models=tmp_path, name="run", watcher=Watcher(epoch=look)),
        sanity_baselines=(),
        tensorboard=True,
    )
    run = read_run(tmp_path / "run")
    for seen, side in zip(zip(*live, strict=True), ("train", "val"), strict=True):
        expected = dict(enumerate(run.history.column(f"{side}_loss").tolist(), start=1))
        for n, found in enumerate(seen, start=1):
            assert found == pytest.approx({epoch: expected[epoch] for epoch in range(1, n + 1)}, rel=1e-5)
    done = accumulated(tmp_path / "run" / "tensorboard" / "train")
    assert [event.step for event in done.Tensors("loss")] == [1, 2, 3]
    assert {"hidden_1", "hidden_2", "classes"} <= {node.name.partition("/")[0] for node in done.Graph().node}
    histograms = done.Tensors("hidden_1/weights")
    assert [event.step for event in histograms] == [1, 2, 3]
    counts = make_ndarray(histograms[-1].tensor_proto)[:, 2]
    assert counts.sum() == 2 * 2 * 512 * 8
    norms = [float(make_ndarray(event.tensor_proto)) for event in done.Tensors("hidden_1/gradient_norm")]
    assert norms == pytest.approx([row.gradient_norm for row in run.history.layers if row.layer == "hidden_1"])
    assert len(done.Tensors("hidden_2/outputs")) == 3


def test_a_comparisons_runs_have_theirs(trained: Trained, tmp_path: Path) -> None:
    """Each run's own graph and curves."""
    small = (
        "--weights",
        "starter",
        "--image-size",
        "64",
        "--folds",
        "0",
        "--epochs",
        "2",
        "--sanity-baselines",
        "none",
    )
    done = imgreg(
        *("compare", trained.data, "--recipes", "plain,tiny", *small, "--set", "head.units=[8]", "--tensorboard"),
        *("--models", tmp_path, "--name", "c", "--quiet"),
    )
    assert done.code == 0, done.err
    for name in ("c-plain", "c-tiny"):
        found = accumulated(tmp_path / name / "tensorboard" / "train")
        assert [event.step for event in found.Tensors("loss")] == [1, 2]
        assert ("Elu" in {node.op for node in found.Graph().node}) == (name == "c-tiny")
