"""The Python API does what the command line does, and its results show themselves."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import imgreg
from conftest import imgreg as command
from imgreg.api.table import Table
from imgreg.recipes.settings import build_settings

SMALL = {"weights": "starter", "image_size": 32, "epochs": 2, "folds": 0}
AS_TRAINED = {
    "weights": "starter",
    "image_size": 64,
    "epochs": 6,
    "views": 2,
    "folds": 0,
}  # as conftest.TRAIN_ARGUMENTS


@pytest.fixture(scope="module")
def ws(trained, tmp_path_factory: pytest.TempPathFactory) -> imgreg.Workspace:
    return imgreg.Workspace(tmp_path_factory.mktemp("api") / "models", progress=False, workers=1)


@pytest.fixture(scope="module")
def run(trained, ws: imgreg.Workspace) -> imgreg.TrainedRun:
    return ws.train(str(trained.data), name="first", overrides={"head.units": [8]}, **AS_TRAINED)


def test_import_is_cheap() -> None:
    """`import imgreg` loads none of the libraries, and every public name can be had from it."""
    code = (
        "import sys, imgreg; print(sorted({'numpy', 'pydantic', 'keras', 'tensorflow', 'click'} & set(sys.modules)));"
        "print(all(hasattr(imgreg, name) for name in imgreg.__all__), 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "True False"]


def test_unknown_name() -> None:
    """A name that imgreg does not have is an AttributeError, as for any module."""
    with pytest.raises(AttributeError, match="no attribute 'Workspce'"):
        _ = imgreg.Workspce  # type: ignore[attr-defined]


def test_train_is_the_commands_run(trained, run: imgreg.TrainedRun) -> None:
    """The same photos and options give the command's history to the bit."""
    assert trained.document["best"]["val_loss"] == run.summary.best.val_loss
    other = imgreg.load_run(trained.folder)
    assert [row["objective"] for row in other.history] == [row["objective"] for row in run.history]
    assert np.array_equal(other.val_probabilities, run.val_probabilities)


def test_history_is_a_frame(run: imgreg.TrainedRun) -> None:
    """An epoch a row, with the generalization gap."""
    frame = run.history.to_frame()
    assert list(frame["epoch"]) == [1, 2, 3, 4, 5, 6]
    assert np.allclose(frame["gap"], frame["val_loss"] - frame["train_loss"])


def test_val_photos_are_the_rows_of_the_probabilities(run: imgreg.TrainedRun) -> None:
    """Accuracy computed from both is the summary's."""
    answers = [run.classes[k] for k in run.val_probabilities.argmax(axis=1)]
    right = np.mean([row["label"] == answer for row, answer in zip(run.val_photos, answers, strict=True)])
    assert right == pytest.approx(run.summary.best.val_accuracy)


def test_predict_one_and_many(trained, run: imgreg.TrainedRun, tmp_path: Path) -> None:
    """One path gives an answer, several a list; a photo that cannot be read is an error in its place."""
    photos = sorted((trained.data / "warm").iterdir())[:2]
    one = run.predict(photos[0])
    said = command("predict", photos[0], "--run", run.folder, "--json").json
    assert (one.label, one.probability) == (said["label"], said["probability"])
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no photo")
    answers = run.predict([str(photos[0]), broken, photos[1]])
    assert [answer.error is None for answer in answers] == [True, False, True]
    assert answers[0].label == one.label
    with pytest.raises(imgreg.PhotoError, match=r"broken\.jpg"):
        run.predict(broken)


def test_a_run_shows_itself(run: imgreg.TrainedRun) -> None:
    """Verdict, both losses and the curves are in its HTML, which asks for nothing from outside."""
    html = run._repr_html_()
    assert run.verdict.sentence.split(":")[0] in html
    assert f"{run.summary.best.val_loss:.4g}" in html
    assert html.count("data:image/svg+xml") == 1
    assert not re.search(r'(src|href)="http', html)
    assert run.verdict.label in repr(run)
    assert len(run.plot_curves().axes) == 3


def test_explain(trained, run: imgreg.TrainedRun) -> None:
    """The map, and the probability that predict gives."""
    photo = next((trained.data / "warm").iterdir())
    explained = run.explain(photo)
    assert explained.map.ndim == 2
    assert explained.png.startswith(b"\x89PNG")
    assert "data:image/png" in explained._repr_html_()
    found = run.predict(photo)
    assert (explained.label, explained.probability) == (found.label, pytest.approx(found.probability, abs=1e-6))


def test_evaluate(trained, run: imgreg.TrainedRun) -> None:
    """The command's figures, with its warning about photos that were trained on."""
    done = run.evaluate(trained.data)
    said = command("evaluate", run.folder, trained.data, "--json").json
    assert done.document == said
    assert {row["metric"]: row["value"] for row in done.table}["accuracy"] == said["figures"]["accuracy"]["value"]
    assert "trained on" in done.answer[0]


def test_compare_keeps_runs(trained, ws: imgreg.Workspace) -> None:
    """A row and a run each, the first of them the control."""
    own = imgreg.load_recipe("plain", overrides={"head.units": [8]}).model_copy(update={"name": "eight-units"})
    done = ws.compare(trained.data, ["plain", own], name="two", **SMALL)
    assert [row["recipe"] for row in done.table] == ["plain", "eight-units"]
    assert [run.folder for run in done.runs] == [Path(ws.models) / "two-plain", Path(ws.models) / "two-eight-units"]
    assert done.runs[1].summary.n_parameters < done.runs[0].summary.n_parameters
    assert done.report == Path(ws.models) / "two" / "report.html"
    assert "data:image/" in done._repr_html_()
    assert {row["name"] for row in ws.runs} >= {"two-plain", "two-eight-units"}


def test_compare_on_many_splits(trained, ws: imgreg.Workspace, caplog: pytest.LogCaptureFixture) -> None:
    """With repeats the table has a row a recipe, and no run is kept; what the command prints on stderr is logged as a
    warning."""
    with caplog.at_level(logging.WARNING, logger="imgreg"):
        done = ws.compare(trained.data, ["plain", "l2"], repeats=2, weights="starter", image_size=32, epochs=2)
    assert [row["recipe"] for row in done.table] == ["plain", "l2"]
    assert done.runs == ()
    assert json.dumps(done.document)
    assert any("broken.jpg" in record.getMessage() for record in caplog.records)


def test_check_says_what_check_says(trained, ws: imgreg.Workspace) -> None:
    """Its document is the command's."""
    found = ws.check(trained.data, weights="starter").document
    assert json.loads(json.dumps(found)) == command("check", trained.data, "--weights", "starter", "--json").json


def test_options_are_refused_by_name(trained, ws: imgreg.Workspace) -> None:
    """A mistyped option, a mistyped key and a string in place of a list are UsageErrors that say what to write."""
    with pytest.raises(imgreg.UsageError, match=r"unknown option 'epoch'\. Did you mean 'epochs'\?"):
        ws.train(trained.data, epoch=3)
    with pytest.raises(imgreg.UsageError, match=r"head\.dropout"):
        ws.train(trained.data, overrides={"head.dropuot": 0.5})
    with pytest.raises(imgreg.UsageError, match="expected a list"):
        ws.compare(trained.data, "plain")
    with pytest.raises(imgreg.UsageError, match="expected 2 or more, so that every photo is scored"):
        ws.label_issues(trained.data, folds=0)


def test_a_recipe_is_laid_over_like_a_name() -> None:
    """Options over a Recipe give what they give over its name, settings that they make idle included."""
    named = build_settings("dropout", {"overrides": {"head.units": []}, "epochs": 3})
    given = build_settings(imgreg.load_recipe("dropout"), {"overrides": {"head.units": []}, "epochs": 3})
    assert named == given


def test_long_tables_are_cut() -> None:
    """Twenty rows are shown, all are there."""
    table = Table([{"n": k} for k in range(25)])
    assert str(table).endswith("19\nand 5 more rows")
    assert table._repr_html_().count("<tr>") == 21
    assert table[24]["n"] == 24
