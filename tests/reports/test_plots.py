"""Figures: written, legible, and not broken by odd curves or odd names."""

from __future__ import annotations

import base64
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imgreg.reports import figure as figure_of
from imgreg.reports import fonts, plots
from imgreg.reports import run_axes as axes_of
from imgreg.reports.contact_sheet import contact_sheet
from imgreg.reports.epoch_axis import rate_in_words
from imgreg.reports.page import Caption

ODD_NAMES = ("$x^2", "_hidden", "<b>&", "caf\udce9\n", "사진", "가" * 300, "a" * 300, "\u202eevil")


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def has_colour(path, colour):
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(pixels(path) - rgb).max(axis=2) <= 3).any())


def test_curves_draws_both_curves_and_the_best_epoch(overfitting):
    """Loss and accuracy are drawn side by side, train solid, validation dashed, the best epoch and the onset of
    overfitting labelled, the learning rate beneath the loss on the same epochs."""
    falling = tuple(replace(row, learning_rate=1e-3 / row.epoch) for row in overfitting.epochs)
    marked = axes_of.PlotOptions(marks=axes_of.Marks(12))
    figure = plots.curves_figure(replace(overfitting, epochs=falling), title="plain", options=marked)
    loss, rate, accuracy = figure.axes
    assert rate.get_lines()[0].get_ydata() == pytest.approx([row.learning_rate for row in falling])
    assert rate.get_xlim() == loss.get_xlim()
    for axes, metric in ((loss, "loss"), (accuracy, "accuracy")):
        train, val, *_ = axes.get_lines()
        assert (train.get_label(), train.get_linestyle()) == ("train", "-")
        assert (val.get_label(), val.get_linestyle()) == ("validation", "--")
        assert train.get_ydata() == pytest.approx(overfitting.column(f"train_{metric}"))
        assert val.get_ydata() == pytest.approx(overfitting.column(f"val_{metric}"))
        legend = [text.get_text() for text in axes.get_legend().get_texts()]
        assert any(f"lowest validation loss: epoch {overfitting.best.epoch} " in text for text in legend)
        assert "overfitting from epoch 12" in legend
        *_, dot, onset = axes.get_lines()
        assert (dot.get_xdata()[0], dot.get_marker()) == (overfitting.best.epoch, "o")
        assert onset.get_xdata()[0] == 12


def test_a_constant_rate_is_told_and_not_drawn(overfitting):
    """Without a strip for the learning rate, loss and accuracy have the same height."""
    loss, accuracy = plots.curves_figure(overfitting, title="plain").axes
    assert loss.get_position().height == pytest.approx(accuracy.get_position().height)
    assert rate_in_words(overfitting) == "Learning rate 0.001 throughout."


def test_the_labels_at_the_ends_of_two_close_curves_stand_apart(plant):
    """A large figure names both curves with their last values, as far apart as the type is high, where they meet."""
    same = plant(np.linspace(0.7, 0.30, 30), np.linspace(0.7, 0.31, 30))
    figure = figure_of.new_figure(8, 4, free=True)
    axes = figure.add_axes((0.1, 0.1, 0.7, 0.8))
    axes_of.draw(axes, {"": same}, metric="loss", end_labels=True)
    train, validation = axes.texts
    assert (train.get_text(), validation.get_text()) == ("train 0.30", "validation 0.31")
    assert validation.xy[1] - train.xy[1] > 0.05


def test_one_epoch_still_shows_points(tmp_path, plant):
    """A run of one epoch has visible marks for train and validation, not two empty axes."""
    figure = plots.curves_figure(plant(np.array([0.5]), np.array([0.6])), title="one")
    figure_of.save_figure(figure, tmp_path / "one.png")
    assert has_colour(tmp_path / "one.png", figure_of.LIGHT.runs[0])
    assert not list(tmp_path.glob(".*"))


def test_an_exploding_loss_leaves_the_axes(plant, overfitting):
    """An explosion does not flatten the rest, and a steady rise is shown whole."""
    explosion = plant(np.linspace(0.7, 0, 40), 0.5 + np.exp(np.arange(40) / 5))
    assert axes_of.shared_limits({"": explosion}).loss < 10 < explosion.last.val_loss
    assert axes_of.shared_limits({"": overfitting}).loss > overfitting.column("val_loss").max()


def test_losses_that_are_no_numbers_are_left_out(plant, overfitting):
    """A history with nan, infinity or nothing but zeros is drawn, and the axes are finite."""
    first, second, *others = overfitting.epochs
    broken = replace(
        overfitting,
        epochs=(replace(first, val_loss=float("nan")), replace(second, val_loss=float("inf")), *others),
    )
    for history in (broken, plant(np.zeros(3), np.zeros(3))):
        assert np.isfinite(axes_of.shared_limits({"": history}).loss)
        figure_of.figure_svg(plots.curves_figure(history, title="odd"))


def test_overlay_gives_each_run_its_colour_and_every_name_a_line(tmp_path, overfitting, monkeypatch):
    """Each run has a colour and a legend line, also if matplotlib would drop its name or set it as maths."""
    seen = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, _target: seen.append(figure))
    plots.overlay(dict.fromkeys(ODD_NAMES, overfitting), target=tmp_path / "overlay.png")
    names = seen[0].legends[1].get_texts()
    assert len(names) == len(ODD_NAMES)
    assert [text.get_text()[:4] for text in names[:3]] == ["$x^2", "_hid", "<b>&"]
    assert "caf\\udce9\\n" in names[3].get_text()
    colours = [line.get_color() for line in seen[0].axes[0].get_lines() if line.get_label() == "train"]
    assert len(set(colours[: len(figure_of.LIGHT.runs)])) == len(figure_of.LIGHT.runs)


def test_odd_names_are_drawn(tmp_path, healthy):
    """Formulas, surrogates, Hangul and 300 characters are drawn without a warning from matplotlib."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="No installed font")
        plots.panels(dict.fromkeys(ODD_NAMES[3:6], healthy), target=tmp_path / "panels.png")
        figure_of.figure_svg(plots.curves_figure(healthy, title=" ".join(ODD_NAMES)))


def test_panels_share_their_axes(tmp_path, overfitting, healthy, monkeypatch):
    """Before and after are drawn to the same limits, a panel a run."""
    seen = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, _target: seen.append(figure))
    plots.panels({"before": overfitting, "after": healthy}, target=tmp_path / "panels.png")
    before, after = seen[0].axes
    assert (before.get_title(), after.get_title()) == ("before", "after")
    assert before.get_ylim() == after.get_ylim()
    assert before.get_xlim() == after.get_xlim()


def test_contact_sheet_holds_every_picture(tmp_path):
    """Each picture is on the sheet with its own colour; a short row and a long Hangul label do no harm."""
    colours = ((250, 10, 10), (10, 250, 10), (10, 10, 250))
    pictures = [np.full((64, 64, 3), colour, np.uint8) for colour in colours]
    rows = [("개미/사진.jpg · keras", pictures), ("벌" * 300, pictures[:1]), ("caf\udce9 $x", [])]
    contact_sheet(rows, headers=["original", "view 1", "view 2"], target=tmp_path / "sheet.png")
    sheet = pixels(tmp_path / "sheet.png")
    counts = [int((np.abs(sheet - colour).max(axis=2) <= 3).sum()) for colour in colours]
    assert counts == [2 * 96 * 96, 96 * 96, 96 * 96]


def test_characters_without_a_font_are_said_once(monkeypatch):
    """Where no font has a character, a box is drawn and one warning says what to install."""
    monkeypatch.setattr(fonts, "_characters", lambda: frozenset(map(ord, "abc")))
    fonts._say_no_font.cache_clear()
    with pytest.warns(UserWarning, match="fonts-noto-cjk") as told:
        drawn = [fonts.drawable(text) for text in ("a개b", "개", "abc")]
    assert drawn == ["a□b", "□", "abc"]
    assert len(told) == 1
    fonts._say_no_font.cache_clear()


def test_dark_figures_have_dark_colours_only(overfitting, healthy):
    """Made dark, a figure has the dark colours, and nothing of the light paper and ink is left."""
    drawn = plots.curves_chart(
        {"a": overfitting, "b": healthy}, Caption(heading="Loss", alt="Loss by epoch"), metric="loss"
    )
    light, dark = (base64.b64decode(text.partition(",")[2]).decode() for text in (drawn.light, drawn.dark))
    assert figure_of.LIGHT.paper in light
    assert figure_of.LIGHT.paper not in dark
    assert figure_of.LIGHT.ink not in dark
    for colour in (figure_of.DARK.paper, figure_of.DARK.ink, figure_of.DARK.grid, *figure_of.DARK.runs[:2]):
        assert colour in dark
