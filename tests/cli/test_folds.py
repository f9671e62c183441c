"""A cross-validated run from end to end: every photo is scored by the head that did not see it, their mean answers."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from conftest import TRAIN_ARGUMENTS, Trained, imgreg
from imgreg.runs.checksums import write_sums
from imgreg.runs.folder import read_run

ARGUMENTS = (*TRAIN_ARGUMENTS, "--folds", "3", "--set", "prediction.mirror=true", "--set", "head.pool=flatten+max")


@pytest.fixture(scope="module")
def run(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("folds")
    done = imgreg("train", trained.data, *ARGUMENTS, "--models", models, "--name", "folded", "--json")
    assert done.code == 0, done.err
    assert (done.json["n_folds"], done.json["n_train"]) == (3, done.json["n_val"])
    return models / "folded"


def test_each_photo_is_in_one_fold(trained: Trained, run: Path) -> None:
    """split.csv has every photo once, the classes even in each fold."""
    rows = list(csv.DictReader((run / "split.csv").open(encoding="utf-8")))
    assert len({row["path"] for row in rows}) == len(rows) == trained.document["n_train"] + trained.document["n_val"]
    counts = Counter((row["split"], row["label"]) for row in rows)
    assert {side for side, _ in counts} == {"fold-1", "fold-2", "fold-3"}
    for label in ("cold", "warm"):
        of_class = [n for (_, name), n in counts.items() if name == label]
        assert max(of_class) - min(of_class) <= 1


def test_predict_is_the_mean_and_blind_to_the_side(trained: Trained, run: Path, tmp_path: Path) -> None:
    """predict loads all heads; a photo and its mirror image get the same probabilities."""
    from PIL import Image, ImageOps

    photo = trained.data / "warm" / "w00.jpg"
    copy, turned = tmp_path / "a.png", tmp_path / "b.png"
    with Image.open(photo) as image:
        small = image.convert("RGB").resize((64, 64))
    small.save(copy)
    ImageOps.mirror(small).save(turned)
    done = imgreg("predict", copy, turned, "--run", run, "--json")
    assert done.code == 0, done.err
    first, second = (json.loads(line)["probabilities"]["warm"] for line in done.out.splitlines())
    assert first == pytest.approx(second, abs=1e-6)
    assert json.loads((run / "model.json").read_text())["n_heads"] == 3


def test_the_kept_scores_are_out_of_fold(run: Path) -> None:
    """val_probabilities at the kept epoch give metrics.json's loss, over all photos."""
    done = read_run(run)
    kept = done.history.val_probabilities[done.summary.kept_epoch - 1]
    labels = [done.summary.classes.index(row.label) for row in done.split]
    loss = -np.log(kept[np.arange(len(kept)), labels].clip(1e-7)).mean()
    assert loss == pytest.approx(done.summary.kept.val_loss, rel=1e-5)
    assert len(kept) == done.summary.n_val == len(done.split)


def test_every_command_takes_the_run(trained: Trained, run: Path, tmp_path: Path) -> None:
    """report, explain, evaluate, runs and verify work on it; evaluate says that its photos were seen."""
    photo = trained.data / "cold" / "c00.jpg"
    assert imgreg("report", run).code == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "3-fold cross-validation" in page
    assert imgreg("explain", photo, "--run", run, "--out", tmp_path / "out").code == 0
    scored = imgreg("evaluate", run, trained.data, "--json")
    assert "trained on" in scored.json["notes"][0]
    assert imgreg("runs", "--models", run.parent).code == 0
    again = imgreg("verify", run, "--json")
    assert (again.code, again.json["same_when_trained_again"]) == (0, True), again.err


def test_a_single_split_is_another_split(trained: Trained, run: Path, tmp_path: Path) -> None:
    """compare says that a cross-validated run and one on a split were not scored on the same photos."""
    done = imgreg("compare", run, trained.folder, "--models", tmp_path / "m", "--json")
    assert done.code == 0, done.err
    assert any("not validated on the same photos" in line for line in done.json["warnings"])


@pytest.mark.parametrize("n_heads", [0, 2, 21])
def test_another_number_of_heads_is_refused(run: Path, tmp_path: Path, n_heads: int) -> None:
    """model.json must name as many heads as the file has."""
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    card = json.loads((copy / "model.json").read_text()) | {"n_heads": n_heads}
    (copy / "model.json").write_text(json.dumps(card))
    write_sums(copy)
    done = imgreg("predict", copy / "report.html", "--run", copy)
    assert done.code == 4, done.err


def test_folds_are_chosen_where_photos_are_few(trained: Trained, tmp_path: Path) -> None:
    """Without --folds a small set is cross-validated, and the line says why; --val-fraction asks for a single split."""
    at = TRAIN_ARGUMENTS.index("--folds")
    usual = (*TRAIN_ARGUMENTS[:at], *TRAIN_ARGUMENTS[at + 2 :], "--epochs", "1", "--models", tmp_path / "m", "--json")
    done = imgreg("train", trained.data, *usual, "--name", "a")
    assert (done.code, done.json["n_folds"]) == (0, 5), done.err
    assert "5-fold cross-validation: a single split would have" in done.err
    single = imgreg("train", trained.data, *usual, "--val-fraction", "0.3", "--name", "b")
    assert (single.code, single.json["n_folds"]) == (0, 0), single.err
