"""train: what the run folder says is what happened."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import TRAIN_ARGUMENTS, Trained, imgreg, paint, paint_set, tree
from imgreg.config import Photos, Settings
from imgreg.progress import Watcher
from imgreg.recipes import load_recipe
from imgreg.runs.evaluations import write_evaluation
from imgreg.session import Session
from imgreg.training.dataset import prepare_dataset

COPIES = (("cold", "c00"), ("cold", "c01"), ("warm", "w02"))


def test_a_run_is_whole(trained: Trained) -> None:
    """Every file that the design names is there, and nothing else."""
    assert {path.name for path in trained.folder.iterdir()} - {
        "duplicates.csv"
    } == {  # there if painted photos are alike
        *("config.toml", "environment.json", "split.csv", "skipped.csv", "history.csv", "val_probabilities.npy"),
        *(
            "metrics.json",
            "report.html",
            "head.safetensors",
            "model.json",
            "calibration.safetensors",
            "augmentation.json",
            "pictures",
        ),
        *(
            "layers.csv",
            "SHA256SUMS",
            "train_true_class.npy",
            "views.png",
            "curves.png",
            "curves.svg",
            "roc.png",
            "roc.svg",
        ),
        *(
            f"{stem}{kind}"
            for stem in (
                *("baselines", "curves", "roc", "precision_recall", "calibration"),
                *("gradients", "weights", "outputs", "silenced"),
            )
            for kind in (".png", ".svg")
        ),
    }
    beside = {path.name for path in trained.folder.parent.iterdir()} - {"evaluations.jsonl"}  # of another test
    assert beside == {"first", ".locks"}


def test_nothing_shows_the_name_of_the_half_made_folder(trained: Trained) -> None:
    """Reports and records bear the run's own name, not the temporary one that it was written under."""
    texts = [path for path in trained.folder.iterdir() if path.suffix in (".html", ".json", ".csv", ".toml")]
    assert len(texts) >= 8
    assert "<h1>first</h1>" in (trained.folder / "report.html").read_text(encoding="utf-8")
    assert not [path.name for path in texts if ".partial" in path.read_text(encoding="utf-8")]


def test_json_has_what_the_issue_names(trained: Trained) -> None:
    """The keys that scripts rely on are there and make sense."""
    found = trained.document
    assert found["run"] == str(trained.folder)
    assert (found["recipe"], found["weights"]) == ("regularized", "starter")
    assert found["engine"] in ("openvino", "keras")
    assert found["classes"] == ["cold", "warm"]
    assert found["n_train"] + found["n_val"] == 32
    assert (found["n_skipped"], found["epochs_run"]) == (1, 6)
    assert (found["best_epoch"], found["kept_epoch"]) == (found["best"]["epoch"], found["kept"]["epoch"])
    assert found["kept"] == found["last"]  # by the default recipe
    assert {"train_loss", "train_accuracy", "val_loss", "val_accuracy"} <= found["best"].keys() & found["last"].keys()
    features = found["features"]
    assert (
        features["n_computed"] + features["n_read"] == 4 * found["n_train"] + 2 * found["n_val"]
    )  # 2 of mirror images
    assert (
        features["n_computed"] >= 3 * found["n_train"] + found["n_val"]
    )  # clean views of photos that look alike came before
    assert found["seconds"]["total"] >= found["seconds"]["head"] > 0


def test_early_stopping_is_recorded(trained: Trained, tmp_path: Path) -> None:
    """With a patience that no epoch satisfies the JSON, metrics.json and the box say where training stopped and why;
    a run that was not stopped has null. Two options beside it: no sanity baselines, and event files in one folder."""
    assert trained.document["stopped_early"] is None
    stopping = ("--patience", "2", "--set", "training.min_delta=9", "--models", tmp_path, "--name", "early")
    options = ("--sanity-baselines", "none", "--tensorboard", "--json")
    done = imgreg("train", trained.data, *TRAIN_ARGUMENTS, *stopping, *options)
    assert done.code == 0, done.err
    assert done.json["sanity_baselines"] == []
    events = {path.parent.relative_to(tmp_path / "early").as_posix() for path in tmp_path.rglob("events.*")}
    assert events == {"tensorboard", "tensorboard/train", "tensorboard/validation"}
    assert not (trained.folder / "tensorboard").exists()
    assert done.json["epochs_run"] == 3  # the first is better than none
    wanted = {"epoch": 3, "max_epochs": 6, "patience_epochs": 2, "min_delta": 9.0}
    assert done.json["stopped_early"] == wanted
    assert json.loads((tmp_path / "early" / "metrics.json").read_text())["stopped_early"] == wanted


def test_the_head_is_paired_with_logistic_regression(trained: Trained) -> None:
    """Both baselines are there, on the head's own validation photos: the difference is the kept epoch's."""
    found = trained.document
    assert [one["name"] for one in found["baselines"]] == ["logistic-regression-flattened", "logistic-regression-means"]
    for one in found["baselines"]:
        assert one["loss_difference"]["mean"] == pytest.approx(found["kept"]["val_loss"] - one["loss"], abs=1e-6)
        assert one["accuracy_difference"]["mean"] == pytest.approx(found["kept"]["val_accuracy"] - one["accuracy"])
        assert one["loss_difference"]["low"] < one["loss_difference"]["mean"] < one["loss_difference"]["high"]
        assert one["note"].startswith("C = ")
    assert found["next_step"]["sentence"]
    assert found["against_baselines"] in (trained.folder / "report.html").read_text().replace("&#39;", "'")


def test_a_class_of_one_train_photo_has_no_baseline(tmp_path: Path) -> None:
    """There is nothing to choose a penalty by: the head is trained, and the missing baselines are reported. One epoch
    sees one view, however many are wanted, so no more are computed."""
    paint_set(tmp_path / "data", n_each=8)
    for number in range(2, 8):
        (tmp_path / "data" / "warm" / f"w{number:02}.jpg").unlink()
    short = (*TRAIN_ARGUMENTS, "--epochs", "1", "--views", "50")
    done = imgreg("train", tmp_path / "data", *short, "--models", tmp_path / "m", "--json")
    assert done.code == 0, done.err
    n_views = sum(done.json["features"].values())
    assert (done.json["n_views"], n_views) == (1, 3 * done.json["n_train"] + 2 * done.json["n_val"])
    assert done.json["baselines"] == []
    assert done.json["against_baselines"] == ""
    assert "Baselines skipped" in done.err


def test_a_copy_across_the_split_is_found_and_reported(tmp_path: Path) -> None:
    """Train photos saved again among the validation photos, other bytes, are listed as duplicates, and leakage is
    suspected."""
    data = tmp_path / "data"
    paint_set(data / "train", n_each=10, seed=40)
    paint_set(data / "val", n_each=4, seed=90)
    for side, name in COPIES:
        with Image.open(data / "train" / side / f"{name}.jpg") as photo:
            photo.save(data / "val" / side / f"copy-{name}.png")
    done = imgreg("train", data, *TRAIN_ARGUMENTS, "--name", "leaks", "--models", tmp_path / "models", "--json")
    assert done.code == 0, done.err
    (suspicion,) = [it for it in done.json["verdict"]["suspicions"] if it["kind"] == "leakage"]
    with (tmp_path / "models" / "leaks" / "duplicates.csv").open() as lines:
        pairs = {row["val"]: row["train"] for row in csv.DictReader(lines)}
    copies = {f"val/{side}/copy-{name}.png": f"train/{side}/{name}.jpg" for side, name in COPIES}
    assert copies.items() <= pairs.items()
    assert suspicion["evidence"]["n_duplicates"] == len(pairs)
    assert "leakage suspected" in (tmp_path / "models" / "leaks" / "report.html").read_text(encoding="utf-8")


def test_skipped_files_are_listed_with_reasons(trained: Trained) -> None:
    """The broken photo is named on stderr and in skipped.csv."""
    with (trained.folder / "skipped.csv").open() as lines:
        (row,) = csv.DictReader(lines)
    assert row["path"].endswith("cold/broken.jpg")
    assert "damaged" in row["reason"] or "known format" in row["reason"]
    assert "skipped" in trained.err
    assert "broken.jpg" in trained.err


def test_config_repeats_the_settings(trained: Trained) -> None:
    """config.toml is fully rendered and reads back as Settings."""
    table = tomllib.loads((trained.folder / "config.toml").read_text())
    settings = Settings.model_validate(table)
    assert settings.recipe.head.units == (8,)
    assert settings.recipe.training.epochs == 6
    assert table["recipe"]["head"]["dropout"] == load_recipe("regularized").head.dropout > 0
    assert settings.base.image_size == 64


def test_no_photo_is_on_two_sides(trained: Trained) -> None:
    """Each photo is in split.csv once, with its own hash."""
    with (trained.folder / "split.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len({row["path"] for row in rows}) == len({row["sha256"] for row in rows}) == len(rows) == 32
    for row in rows:
        assert hashlib.sha256((trained.data / row["path"]).read_bytes()).hexdigest() == row["sha256"]


def test_predict_equals_the_training_time_probabilities(trained: Trained) -> None:
    """predict on the validation photos gives the kept epoch's recorded probabilities."""
    with (trained.folder / "split.csv").open() as lines:
        val = [trained.data / row["path"] for row in csv.DictReader(lines) if row["split"] == "val"]
    done = imgreg("predict", *val, "--run", trained.folder, "--json")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [answer["path"] for answer in answers] == [str(path) for path in val]
    found = np.array([[answer["probabilities"][label] for label in ("cold", "warm")] for answer in answers])
    recorded = np.load(trained.folder / "val_probabilities.npy")[trained.document["kept_epoch"] - 1]
    np.testing.assert_allclose(found, recorded, atol=1e-3)


def test_the_photo_folder_is_never_written_to(trained: Trained, tmp_path: Path) -> None:
    """Bytes and times of every photo are the same after each command that reads photos, and none needs to write there;
    the same command and photos give the same head, whose every feature lay in the cache."""
    data = tmp_path / "data"
    shutil.copytree(trained.data, data)
    before = tree(data)
    for path in data.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    common = ("--models", tmp_path / "models", "-q")
    run = tmp_path / "models" / "again"
    photo = data / "warm" / "w00.jpg"
    asked: list[tuple[int, tuple[object, ...]]] = [
        (0, ("check", data, "--weights", "starter", "--fix", tmp_path / "clean.csv", "-q")),
        (0, ("train", data, *TRAIN_ARGUMENTS, "--name", "again", *common)),
        (3, ("predict", data, *common)),  # the broken photo
        (0, ("evaluate", run, data, "-q")),
        (0, ("explain", photo, "--run", run, "--out", tmp_path / "maps", "-q")),
        (0, ("report", run, "-q")),
        (0, ("verify", run, "--files-only", "-q")),
        (0, ("preview", data, "--out", tmp_path / "sheet.png", "-q")),
    ]
    for code, arguments in asked:
        done = imgreg(*arguments)
        assert (done.code, tree(data) == before) == (code, True), (arguments, done.err)
    for name in ("head.safetensors", "val_probabilities.npy"):
        assert (run / name).read_bytes() == (trained.folder / name).read_bytes()
    assert json.loads((run / "metrics.json").read_text())["features"]["n_computed"] == 0


def test_places_inside_the_photo_folder_are_refused(trained: Trained) -> None:
    """Runs and sheets cannot go into the photo folder."""
    done = imgreg("train", trained.data, "--models", trained.data / "models")
    assert (done.code, "never writes to" in done.err) == (2, True)
    done = imgreg("preview", trained.data, "--out", trained.data / "sheet.png")
    assert (done.code, "never writes to" in done.err) == (2, True)


def test_a_manifests_photo_folders_are_protected(trained: Trained, tmp_path: Path, monkeypatch) -> None:
    """Photos that a CSV names are not written beside either: not by runs, sheets or the cache."""
    photos = paint_set(tmp_path / "photos", n_each=4)
    manifest = tmp_path / "set.csv"
    rows = [f"{path},{path.parent.name}" for path in sorted(photos.rglob("*.jpg"))]
    manifest.write_text("\n".join(["path,label", *rows]) + "\n")
    before = tree(photos)
    commands = [
        ("preview", manifest, "--out", photos / "cold" / "sheet.png"),
        ("train", manifest, "--models", photos / "cold" / "models"),
        ("compare", manifest, "--models", photos / "warm"),
    ]
    for arguments in commands:
        done = imgreg(*arguments)
        assert (done.code, "never writes to" in done.err) == (2, True), arguments
    monkeypatch.setenv("IMGREG_CACHE", str(trained.data / "cache"))
    done = imgreg("train", trained.data, "--models", tmp_path / "m")
    assert (done.code, "IMGREG_CACHE" in done.err) == (2, True)
    assert tree(photos) == before
    assert not (trained.data / "cache").exists()


def test_a_class_that_misses_its_share_is_reported(tmp_path: Path) -> None:
    """Copies stay together: a class that is mostly one picture cannot give its share, and a warning says so; the others
    do."""
    data = paint_set(tmp_path / "data", n_each=10)
    for copy in range(10):
        shutil.copy(data / "cold" / "c00.jpg", data / "cold" / f"copy{copy}.jpg")
    for path in sorted((data / "cold").glob("c0[1-9].jpg"))[1:]:
        path.unlink()
    said: list[str] = []
    session = Session(watcher=Watcher(say=said.append))
    dataset = prepare_dataset(data, Photos(val_fraction=0.4), base=None, session=session)
    assert list(dataset.warnings) == said
    assert [line for line in said if line.startswith("class 'cold': 1 of 12 photos are used for validation")]
    assert not [line for line in said if "class 'warm'" in line]


def test_the_runs_augmentation_is_on_record(trained: Trained) -> None:
    """augmentation.json holds the ranges that made the views."""
    made_by = json.loads((trained.folder / "augmentation.json").read_text())
    asked = load_recipe("regularized").augmentation
    assert (made_by["backend"], made_by["rotation_range"]) == ("keras", asked.rotation_range)
    assert made_by["fill_mode"] == asked.fill_mode


def test_odd_names_go_all_the_way(tmp_path: Path) -> None:
    """Class names and file names of any kind, some not UTF-8, come through train, report, predict, CSV and runs."""
    data, bytes_class = tmp_path / "사진", os.fsdecode(b"k\xe4lte")
    for number in range(8):
        paint(data / "개미 <b>" / f"개미 {number} 'x'.jpg", warm=False, seed=2 * number)
        paint(data / '벌, "꿀"' / f"=벌\n{number}.jpg", warm=True, seed=2 * number + 1)
        paint(data / bytes_class / f"{number}.jpg", warm=False, seed=100 + number)
    odd = data / bytes_class / os.fsdecode(b"\xff\xfe.jpg")
    (data / bytes_class / "0.jpg").rename(odd)
    done = imgreg("train", data, *TRAIN_ARGUMENTS, "--name", "첫째", "--models", tmp_path / "m", "--json")
    assert done.code == 0, done.err
    assert done.json["classes"] == ["k\\xe4lte", "개미 <b>", '벌, "꿀"']
    report = (tmp_path / "m" / "첫째" / "report.html").read_text(encoding="utf-8")
    assert "개미 &lt;b&gt;" in report
    assert "개미 <b>" not in report
    hangul = [data / "개미 <b>", data / '벌, "꿀"']
    answers = imgreg("predict", *hangul, "--models", tmp_path / "m", "--csv")
    assert answers.code == 0, answers.err
    rows = list(csv.DictReader(answers.out.splitlines(keepends=True)))
    assert {row["path"] for row in rows} == {str(path) for folder in hangul for path in folder.iterdir()}
    assert {row["label"] for row in rows} <= set(done.json["classes"])
    answer = imgreg("predict", odd, "--models", tmp_path / "m", "--json")
    assert answer.code == 0, answer.err
    assert os.fsencode(answer.json["path"]) == os.fsencode(odd)
    assert len(imgreg("runs", "--models", tmp_path / "m", "--json").json) == 1


def test_a_given_test_split_is_scored_by_the_kept_head(tmp_path: Path) -> None:
    """test/ photos are never trained on, and the summary has their loss and accuracy."""
    for number, split in enumerate(("train", "val", "test")):
        paint_set(tmp_path / "data" / split, n_each=6, seed=100 * number)
    tested = [hashlib.sha256(photo.read_bytes()).hexdigest() for photo in (tmp_path / "data" / "test").rglob("*.jpg")]
    write_evaluation(tmp_path / "m", photos=tested, runs=["gone"], heads=["0" * 64], command="")
    done = imgreg("train", tmp_path / "data", *TRAIN_ARGUMENTS, "--name", "r", "--models", tmp_path / "m", "--json")
    assert (done.json["n_train"], done.json["n_val"], done.json["n_test"]) == (12, 12, 12)
    assert done.json["test"]["n_runs_scored"] == 2
    told = "These 12 photos have been used to score 2 different runs; the best of several scores is optimistic."
    assert told in (tmp_path / "m" / "r" / "report.html").read_text()
    again = imgreg("evaluate", tmp_path / "data" / "test", "--models", tmp_path / "m", "--json")
    assert (again.json["n_runs_scored"], again.json["notes"]) == (2, [told])  # the same run: no further choice
    answers = imgreg("predict", tmp_path / "data" / "test", "--models", tmp_path / "m", "--json").out.splitlines()
    p = [json.loads(line) for line in answers]
    truth = [Path(answer["path"]).parent.name for answer in p]
    assert done.json["test"]["accuracy"] == pytest.approx(
        np.mean([a["label"] == t for a, t in zip(p, truth, strict=True)])
    )
    losses = [-np.log(a["probabilities"][t]) for a, t in zip(p, truth, strict=True)]
    assert done.json["test"]["loss"] == pytest.approx(np.mean(losses), abs=1e-4)


def test_leaks_across_a_given_split_stop_training_unless_allowed(tmp_path: Path) -> None:
    """Copies on both sides of the user's split are refused, with advice; with --allow-leakage the run warns of them."""
    for split in ("train", "val"):
        paint_set(tmp_path / "data" / split, n_each=4)
    command = ("train", tmp_path / "data", *TRAIN_ARGUMENTS, "--models", tmp_path / "m", "--json")
    done = imgreg(*command)
    assert (done.code, done.out) == (3, "")
    assert "16 identical files appear in more than one split" in done.err
    assert "--allow-leakage" in done.err
    done = imgreg(*command, "--allow-leakage")
    assert "16 identical files appear in more than one split" in done.err
    assert any("16 identical files" in line for line in done.json["warnings"])
