"""imgreg report and imgreg explain, as a user types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import TRAIN_ARGUMENTS, Trained, imgreg, imgreg_process

FIGURES = (
    *("baselines", "curves", "roc", "precision_recall", "calibration"),
    *("gradients", "weights", "outputs", "silenced"),  # of the head's layers
)


@pytest.fixture
def run(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the trained run."""
    return Path(shutil.copytree(trained.folder, tmp_path / "run"))


def test_a_report_is_rebuilt_from_the_folder_alone(run: Path, trained: Trained) -> None:
    """With the photos out of reach, all figures and the page come back as they were, byte by byte, and nothing else
    changes."""
    kept = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    drawn = [path for path in kept if path.suffix in (".html", ".png", ".svg") and path.name != "views.png"]
    assert {path.stem for path in drawn} == {"report", *FIGURES}
    for path in drawn:
        path.unlink()
    trained.data.rename(trained.data.with_name("away"))
    try:
        done = imgreg("report", run, "--json")
    finally:
        trained.data.with_name("away").rename(trained.data)
    assert (done.code, done.json) == (0, {"report": str(run / "report.html")})
    now = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    name = run.name.encode()
    assert now.keys() == kept.keys()
    named = {"report.html", "curves.png", "curves.svg", "SHA256SUMS"}  # by the run's name and place
    assert {p.name for p in now if now[p] != kept[p]} <= named
    assert name in now[run / "report.html"]


def test_curves_are_drawn_as_asked(run: Path) -> None:
    """`imgreg report --smooth --log-epochs --ylim` changes the curves, in the page too; without them they come back."""
    as_measured = (run / "curves.svg").read_text()
    assert imgreg("report", run, "--smooth", "2", "--log-epochs", "--ylim", ":2").code == 0
    smoothed = (run / "curves.svg").read_text()
    assert "smoothed, std. 2 epochs" in smoothed
    assert "smoothed" not in as_measured
    page = (run / "report.html").read_text()
    assert imgreg("report", run).code == 0
    assert (run / "curves.svg").read_text().count("smoothed") == 0
    assert (run / "report.html").read_text() != page


@pytest.mark.parametrize("given", [["--xlim", "5:2"], ["--ylim", "high"], ["--log-epochs", "--xlim", "0:9"]])
def test_a_range_that_cannot_be_is_refused(run: Path, given: list[str]) -> None:
    """The message names the option and how it is typed."""
    done = imgreg("report", run, *given)
    assert done.code == 2
    assert given[-2].strip("-") in done.err
    assert "200" in done.err


def test_the_report_lists_the_heads_layers(run: Path) -> None:
    """Each layer of model.json is in the page with its output shape, beside the number of parameters in all."""
    page = (run / "report.html").read_text()
    plan = json.loads((run / "model.json").read_text())["plan"]
    assert "Layers of the head" in page
    assert all(f'<th scope="row">{layer["name"]}</th>' in page for layer in plan)
    trained = json.loads((run / "metrics.json").read_text())
    each = trained["n_parameters"] // max(trained["n_folds"], 1)
    assert f"{each:,} are trainable." in page


def test_a_report_needs_no_tensorflow(run: Path) -> None:
    """With TensorFlow and Keras broken, the report is made all the same."""
    broken = run.parent / "broken"
    for name in ("tensorflow", "keras"):
        (broken / name).mkdir(parents=True)
        (broken / name / "__init__.py").write_text("raise ImportError('broken')")
    done = imgreg_process("report", run, env={"PYTHONPATH": str(broken)})
    assert done.code == 0, done.err
    assert done.out == f"{run / 'report.html'}\n"


def test_a_run_of_an_older_imgreg_has_a_report(run: Path) -> None:
    """Without pictures, probabilities of the train photos, suspicions, controls and baselines, which came later."""
    shutil.rmtree(run / "pictures")
    for name in ("train_true_class.npy", "views.png", "augmentation.json", "SHA256SUMS"):
        (run / name).unlink()
    metrics = json.loads((run / "metrics.json").read_text())
    del metrics["baselines"], metrics["against_baselines"], metrics["next_step"]
    del metrics["sanity_baselines"], metrics["calibration"], metrics["verdict"]["suspicions"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert imgreg("report", run).code == 0
    page = (run / "report.html").read_text()
    assert metrics["verdict"]["sentence"] in page
    assert "data:image/jpeg" in page  # made of the photos, which are still where they were


def test_photos_that_changed_are_not_shown(run: Path, trained: Trained) -> None:
    """A photo whose bytes are others than those trained on is not passed off as the one that was got wrong."""
    shutil.rmtree(run / "pictures")
    for name in ("views.png", "SHA256SUMS"):
        (run / name).unlink()
    environment = json.loads((run / "environment.json").read_text())
    elsewhere = Path(shutil.copytree(trained.data, run.parent / "data"))
    for path in elsewhere.rglob("*.jpg"):
        path.write_bytes(path.read_bytes() + b"\0")
    (run / "environment.json").write_text(json.dumps(environment | {"data": str(elsewhere)}))
    assert imgreg("report", run).code == 0
    assert "data:image/jpeg" not in (run / "report.html").read_text()
    assert list((run / "pictures").iterdir()) == []


def test_a_comparison_and_its_runs_may_be_moved_together(trained: Trained, tmp_path: Path) -> None:
    """Its report is made of the runs beside it; without them it says which is missing."""
    done = imgreg("compare", trained.folder, trained.folder, "--models", tmp_path, "--name", "both")
    assert done.code == 0, done.err
    (tmp_path / "both" / "report.html").unlink()
    assert imgreg("report", tmp_path / "both").code == 0
    assert "Photo by photo" in (tmp_path / "both" / "report.html").read_text()
    comparison = tmp_path / "both" / "comparison.json"
    named = json.loads(comparison.read_text())["runs"][0]["run"]
    comparison.write_text(comparison.read_text().replace(named, "/gone/for-good"))
    done = imgreg("report", tmp_path / "both")
    assert done.code == 4
    assert "for-good is not a readable run" in done.err


def test_other_folders_are_refused(tmp_path: Path) -> None:
    """Exit 4, and what was expected."""
    done = imgreg("report", tmp_path)
    assert done.code == 4
    assert "found no model.json, comparison.json, study.json or tune.json" in done.err


def test_a_name_in_split_csv_cannot_lead_out_of_the_run(run: Path) -> None:
    """A run from a stranger whose "hash" is a path is refused before anything is read or written."""
    rows = (run / "split.csv").read_text().splitlines()
    path, label, split, _ = rows[1].split(",")
    rows[1] = ",".join([path, label, split, "../../escaped"])
    (run / "split.csv").write_text("\n".join(rows))
    (run / "SHA256SUMS").unlink()
    done = imgreg("report", run)
    assert done.code == 4
    assert "found sha256 '../../escaped'" in done.err
    assert not list(run.parent.glob("escaped*"))


def test_explain_writes_the_picture_and_the_map(trained: Trained, tmp_path: Path) -> None:
    """For each photo an overlay and its map, by the run's own answer; photos of one name do not meet."""
    photos = sorted((trained.data / "warm").iterdir())[:1]
    again = tmp_path / "again" / photos[0].name
    again.parent.mkdir()
    shutil.copy(sorted((trained.data / "cold").glob("c*.jpg"))[0], again)
    out = tmp_path / "out"
    done = imgreg("explain", *photos, again, "--run", trained.folder, "--out", out, "--json")
    assert done.code == 0, done.err
    first, second = done.json
    assert len({first["overlay"], second["overlay"], first["map"], second["map"]}) == 4
    for one, photo in ((first, photos[0]), (second, again)):
        predicted = imgreg("predict", photo, "--run", trained.folder, "--json").json
        assert one["label"] == one["answer"] == predicted["label"]
        assert one["probability"] == pytest.approx(predicted["probability"], abs=1e-6)
        heat = np.load(one["map"], allow_pickle=False)
        assert heat.shape == (4, 4)
        assert heat.dtype == np.float32
        assert (heat >= 0).all()
        with Image.open(one["overlay"]) as image:
            assert image.width > 1200
    assert sorted(path.name for path in out.iterdir()) == sorted(
        Path(one[key]).name for one in (first, second) for key in ("map", "overlay")
    )


def test_explain_says_how_like_the_maps_of_random_heads_are(trained: Trained, tmp_path: Path) -> None:
    """The line names the picture, the class asked for, and the check."""
    photo = next((trained.data / "warm").iterdir())
    done = imgreg("explain", photo, "--run", trained.folder, "--class", "cold", "--out", tmp_path)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{tmp_path / photo.stem}-explained.png  cold ")
    assert "random" in done.out or "no region" in done.out


def test_explain_refuses_before_it_writes(trained: Trained, tmp_path: Path) -> None:
    """An unknown class, the photo's own folder, a broken photo: clear words, and nothing is left behind."""
    photo = next((trained.data / "warm").iterdir())
    before = sorted(trained.data.rglob("*"))
    run = ("--run", trained.folder)
    copy = tmp_path / "elsewhere" / photo.name
    copy.parent.mkdir()
    shutil.copy(photo, copy)
    for arguments, code, words in (
        (
            (photo, "--class", "lukewarm", *run, "--out", tmp_path / "a"),
            2,
            "expected one of the run's classes, cold, warm",
        ),
        ((photo, *run, "--out", photo.parent / "why"), 2, "is inside the photo folder"),
        ((copy, *run, "--out", copy.parent), 2, "imgreg never writes to photo folders"),
        ((trained.data / "cold" / "broken.jpg", photo, *run, "--out", tmp_path / "b"), 3, "broken.jpg: "),
        ((tmp_path / "none.jpg", *run, "--out", tmp_path / "c"), 3, "No such file"),
    ):
        done = imgreg("explain", *arguments)
        assert (done.code, words in done.err) == (code, True), done.err
    assert sorted(trained.data.rglob("*")) == before
    assert list(tmp_path.rglob("*")) == [copy.parent, copy]


def test_events_without_runs_are_refused(trained: Trained, tmp_path: Path) -> None:
    """--tensorboard has no effect where no run is kept (tests/api/test_train.py: where one is)."""
    done = imgreg("compare", trained.data, *TRAIN_ARGUMENTS, "--models", tmp_path, "--repeats", "2", "--tensorboard")
    assert (done.code, "--tensorboard has no effect with --repeats" in done.err) == (2, True)
