"""Smoothing, logarithmic epochs, limits: what a reader may ask of the curves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from given import a_trial
from imgreg.analysis.curves import gaussian_smoothed
from imgreg.config import CurveStyle
from imgreg.reports import plots
from imgreg.reports import study as study_figures
from imgreg.reports.run_axes import PlotOptions
from imgreg.runs.history import History


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved, in order."""
    figures: list[Figure] = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, _target: figures.append(figure))
    return figures


def test_smoothing_keeps_level_and_mean_slope() -> None:
    """A constant stays as it is up to both ends, noise shrinks, and a missing value does not spread."""
    assert gaussian_smoothed(np.full(30, 0.7), std_epochs=4) == pytest.approx(np.full(30, 0.7))
    noise = np.random.default_rng(0).normal(size=400)
    assert gaussian_smoothed(noise, std_epochs=4).std() < 0.35 * noise.std()
    gap = np.full(30, 0.7)
    gap[10] = np.nan
    smoothed = gaussian_smoothed(gap, std_epochs=4)
    assert np.flatnonzero(np.isnan(smoothed)).tolist() == [10]
    assert np.delete(smoothed, 10) == pytest.approx(np.full(29, 0.7))


def test_smoothed_curves_show_what_was_measured(overfitting: History) -> None:
    """Behind each smoothed curve the measured one is drawn, fainter, and the axis says which is which."""
    figure = plots.curves_figure(overfitting, title="plain", options=PlotOptions(CurveStyle(smooth=3)))
    loss, accuracy = figure.axes
    for axes, metric in ((loss, "loss"), (accuracy, "accuracy")):
        lines = axes.get_lines()
        for side in ("train", "val"):
            measured = overfitting.column(f"{side}_{metric}")
            (faint,) = [line for line in lines if np.array_equal(line.get_ydata(), measured)]
            assert faint.get_alpha() is not None
            assert faint.get_alpha() < 0.5
            bold = gaussian_smoothed(measured, std_epochs=3)
            assert any(np.array_equal(line.get_ydata(), bold) and line.get_alpha() is None for line in lines)
    assert "smoothed, std. 3 epochs" in loss.get_xlabel()
    assert "smoothed, std. 3 epochs" in accuracy.get_xlabel()


def test_unsmoothed_curves_say_nothing_of_smoothing(overfitting: History, drawn: list[Figure], tmp_path: Path) -> None:
    """By default the axis is called epoch, and no faint line is drawn."""
    plots.validation_losses({"plain": overfitting}, target=tmp_path / "v.png")
    (axes,) = drawn[0].axes
    assert axes.get_xlabel() == "epoch"
    assert [line.get_alpha() for line in axes.get_lines() if len(line.get_xdata()) > 2] == [None]


@pytest.mark.parametrize("draw", [plots.overlay, plots.panels, plots.validation_losses])
def test_limits_and_scale_reach_every_figure(
    draw: Callable[..., None], overfitting: History, healthy: History, drawn: list[Figure], tmp_path: Path
) -> None:
    """Epochs on a logarithmic axis between the limits asked for, the loss between its own; accuracies keep theirs."""
    style = CurveStyle(log_epochs=True, xlim=(2, 80), ylim=(0.1, None))
    draw({"plain": overfitting, "l2": healthy}, target=tmp_path / "f.png", options=PlotOptions(style))
    for axes in drawn[0].axes:
        assert (axes.get_xscale(), axes.get_xlim()) == ("log", (2, 80))
        low, high = axes.get_ylim()
        assert (low == 0.1 and high > 0.5) or (low == 0.5 and high > 1)
        assert [tick.get_text() for tick in axes.get_xticklabels()][:2] != ["$10^0$", "$10^1$"]


def test_validation_losses_leave_the_train_curves_out(
    overfitting: History, healthy: History, drawn: list[Figure], tmp_path: Path
) -> None:
    """The comparison of validation losses holds one curve and one dot a run, and ends where they end."""
    runs = {"plain": overfitting, "l2": healthy}
    plots.validation_losses(runs, target=tmp_path / "v.png")
    (axes,) = drawn[0].axes
    curves = [line.get_ydata() for line in axes.get_lines() if len(line.get_xdata()) > 1]
    assert [len(curves), *map(len, curves)] == [2, 100, 100]
    for curve, history in zip(curves, runs.values(), strict=True):
        assert curve == pytest.approx(history.column("val_loss"))
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["validation", "lowest validation loss"]


def test_a_study_is_smoothed_alike() -> None:
    """The mean validation curves of a study obey the same options."""
    losses = tuple(np.random.default_rng(0).uniform(0.3, 0.6, 20).tolist())
    trial = a_trial(train_losses=losses, val_losses=losses)
    style = CurveStyle(smooth=2, log_epochs=True, ylim=(None, 0.9))
    trials = {"plain": [trial], "l2": [trial]}
    (axes,) = study_figures._curves(trials, groups={"all": list(trials)}, style=style).axes
    assert (axes.get_xscale(), axes.get_ylim()) == ("log", (0, 0.9))
    assert "smoothed" in axes.get_xlabel()
    shown = [line for line in axes.get_lines() if len(line.get_xdata()) == 20]
    assert [line.get_alpha() is None for line in shown] == [True, False] * 2
    assert shown[0].get_ydata() == pytest.approx(gaussian_smoothed(np.array(losses), std_epochs=2))
