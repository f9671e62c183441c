"""Figures of a study and of a learning curve, and what their pages say first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from given import a_trial
from imgreg.analysis.learning_curve import learning_curve, learning_curve_answer
from imgreg.analysis.results import Findings, Study
from imgreg.analysis.sanity_baselines import accuracy_interval
from imgreg.analysis.study import study_answer, study_table
from imgreg.config import CurveStyle
from imgreg.reports import learning_curve as learning_curves
from imgreg.reports import study as studies
from imgreg.reports.figure import LIGHT
from imgreg.reports.learning_curve import learning_curve_report
from imgreg.reports.study import study_report
from imgreg.runs.summary import SanityBaseline
from imgreg.runs.trial import Trial

NAMES = ("plain", "4 + L2, batch norm", "regularized", "dropout searched")


def trial(recipe: str, repeat: int, *, loss: float) -> Trial:
    return a_trial(recipe=recipe, repeat=repeat, test_loss=loss + 0.01 * repeat)


TRIALS = {name: [trial(name, i, loss=0.6 - 0.01 * k) for i in range(3)] for k, name in enumerate(NAMES)}


def beside(metadata: int) -> tuple[SanityBaseline, ...]:
    """The largest class, and file metadata, right on so many of 100 photos."""
    return tuple(
        SanityBaseline(name=name, loss=0.6, accuracy=n / 100, low=low, high=high)
        for name, n in (("majority", 50), ("file-metadata", metadata))
        for low, high in [accuracy_interval(n, 100)]
    )


def page_of(folder: Path, *, metadata: int) -> str:
    table = study_table(TRIALS)
    folder.mkdir()
    done = Study(
        folder=folder,
        table=table,
        trials=TRIALS,
        groups={"all": NAMES},
        answer=study_answer(table),
        sanity_baselines=beside(metadata),
        command="imgreg study data",
    )
    study_report(done, folder=folder, style=CurveStyle())
    return (folder / "report.html").read_text(encoding="utf-8")


def test_recipes_have_their_own_colours_and_dashed_keys() -> None:
    """plain and regularized are drawn in the colours of their own pages, and the legend's lines are dashed too."""
    figure = studies._curves(TRIALS, groups={"all": NAMES}, style=CurveStyle())
    (axes,) = figure.axes
    colours = {text.get_text(): line.get_color() for text, line in _keys(axes)}
    assert (colours["plain"], colours["regularized"]) == LIGHT.runs[:2]
    assert len(set(colours.values())) == len(NAMES)
    assert {line.get_linestyle() for _, line in _keys(axes)} == {"--"}


def _keys(axes):
    legend = axes.get_legend()
    return list(zip(legend.get_texts(), legend.get_lines(), strict=True))


def test_a_study_of_photos_with_a_shortcut_is_doubted_first(tmp_path: Path) -> None:
    """Where file metadata reach 90 % the page says not to trust it; where they reach 52 %, it gives its answer. Rows
    without a training of their own are explained, and the control is not counted."""
    doubted, trusted = (page_of(tmp_path / str(n), metadata=n) for n in (90, 52))
    claim = "t trust this yet: file size, format and camera metadata alone reach 90.0%"
    assert claim in doubted
    assert doubted.index(claim) < doubted.index("lowered test loss by")
    assert "t trust this yet" not in trusted
    assert "dropout searched: in each repeat the dropout recipe with the lowest validation loss." in trusted
    assert "3 recipes vs. plain" in trusted


@pytest.fixture(scope="module")
def curves():
    """Error and loss of three repeats that disagree: wide intervals."""
    sizes, draw = (16, 32, 64, 128), np.random.default_rng(0)
    scores = 0.2 + draw.normal(0, 0.06, (3, 4))
    return tuple(
        learning_curve(scores.tolist(), sizes=sizes, n_test=30, more=100, what=what, highest=highest)
        for what, highest in (("test error", 1.0), ("test loss", np.inf))
    )


def test_the_axes_hold_every_interval(curves) -> None:
    """No bar and no part of the band lies outside the axes."""
    for curve, as_accuracy in zip(curves, (True, False), strict=True):
        (axes,) = learning_curves._figure([(curve, as_accuracy)]).axes
        bottom, top = axes.get_ylim()
        ends = [*curve.lows, *curve.highs, *(p.low for p in curve.fitted), *(p.high for p in curve.fitted)]
        shown = [100 * (1 - end) if as_accuracy else end for end in ends]
        assert bottom <= min(shown)
        assert max(shown) <= top


def test_the_table_and_the_answer_have_one_figure_for_now(curves, tmp_path: Path) -> None:
    """The page's headline gives the measured accuracy of its table, and the future as a change alone."""
    error, loss = curves
    learning_curve_report(
        error,
        loss,
        findings=Findings(learning_curve_answer(error, loss), (), "imgreg learning-curve data"),
        recipe="plain",
        folder=tmp_path,
    )
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    now = f"{1 - error.means[-1]:.1%}"
    assert f"accuracy is {now} with 128 train photos" in text
    assert f"<td>{now}</td>" in text
    assert f"{1 - error.more.score:.1%}" not in text
    assert '<div class="verdict unsure">' in text
