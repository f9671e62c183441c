"""Event files, read back by TensorBoard's own reader."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.reports.contact_sheet import contact_sheet
from imgreg.reports.tensorboard import write_events, write_experiment


def read_back(folder):
    """What TensorBoard itself finds below a folder."""
    from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

    found = EventMultiplexer(size_guidance={"tensors": 0}).AddRunsFromDirectory(str(folder))  # 0: all of them
    found.Reload()
    return found


def scalars(found, run, tag):
    from tensorboard.util.tensor_util import make_ndarray

    return {event.step: float(make_ndarray(event.tensor_proto)) for event in found.Tensors(run, tag)}


def test_both_sides_stand_under_one_tag_as_two_runs(tmp_path, make_run, healthy) -> None:
    """Loss and accuracy by epoch in train and validation, the honest figures; the learning rate once."""
    write_events(tmp_path / "a", make_run(healthy, name="a"))
    found = read_back(tmp_path)
    for name, side in (("train", "train"), ("validation", "val")):
        for tag in ("loss", "accuracy"):
            values = scalars(found, f"a/tensorboard/{name}", tag)
            assert list(values) == list(range(1, 101))
            assert list(values.values()) == pytest.approx(healthy.column(f"{side}_{tag}"), rel=1e-6)
    assert set(scalars(found, "a/tensorboard/train", "learning_rate").values()) == {float(np.float32(1e-3))}
    assert "learning_rate" not in found.Runs()["a/tensorboard/validation"]["tensors"]


def test_epochs_have_the_time_they_ended(tmp_path, make_run, healthy) -> None:
    """The last epoch ended when the run was made, each before it a tenth of a second earlier."""
    write_events(tmp_path, make_run(healthy))
    times = [event.wall_time for event in read_back(tmp_path).Tensors("tensorboard/train", "loss")]
    assert np.diff(times) == pytest.approx(np.full(99, 0.1), abs=1e-3)
    assert times[-1] == pytest.approx(1767605400)  # 2026-01-05T09:30:00Z


def test_views_are_an_image(tmp_path, make_run, healthy) -> None:
    """The sheet of augmented views is there to the byte, with its size."""
    picture = np.full((32, 32, 3), 90, np.uint8)
    contact_sheet([("ants", [picture])], headers=["original"], target=tmp_path / "views.png")
    write_events(tmp_path, make_run(healthy))
    (event,) = read_back(tmp_path).Tensors("tensorboard/train", "views")
    width, height, png = event.tensor_proto.string_val
    assert png == (tmp_path / "views.png").read_bytes()
    assert int(width) > 0 < int(height)


def test_a_comparison_tells_which_settings_differ(tmp_path, make_run, healthy) -> None:
    """hparams: each run's settings, and of the comparison those that differ and no others."""
    from tensorboard.plugins.hparams.metadata import parse_experiment_plugin_data, parse_session_start_info_plugin_data

    runs = [make_run(healthy, name="a"), make_run(healthy, name="b")]
    object.__setattr__(runs[1], "config_toml", runs[1].config_toml.replace("[256]", "[64]"))
    for run in runs:
        write_events(tmp_path / run.summary.name, run)
    write_experiment(tmp_path / "both", runs)
    found = read_back(tmp_path)
    data = found.SummaryMetadata("both/tensorboard", "_hparams_/experiment").plugin_data.content
    experiment = parse_experiment_plugin_data(data)
    assert [info.name for info in experiment.hparam_infos] == ["head.units"]
    assert len(experiment.metric_infos) == 4
    started = found.SummaryMetadata("b/tensorboard", "_hparams_/session_start_info").plugin_data.content
    assert parse_session_start_info_plugin_data(started).hparams["head.units"].string_value == "[64]"
