"""train --finetune: the run folder holds the tuned block, and predict answers as the curves say, without TensorFlow."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from conftest import imgreg, paint_set
from imgreg.api.classifier import load_classifier
from imgreg.api.predict import predict
from imgreg.api.run import load_run
from imgreg.data.decode import decode_file
from imgreg.errors import ArtefactError
from imgreg.heads.store import BLOCK_FILE, load_head
from imgreg.runs.folder import read_run

ARGUMENTS = (
    *("--weights", "starter", "--image-size", "32", "--precision", "float32", "--epochs", "1", "--views", "1"),
    *("--folds", "0", "--set", "head.units=[8]", "--finetune", "block5", "--set", "finetune.epochs=2"),
    *("--set", "finetune.head_learning_rate=0.01"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finetuned")
    data = paint_set(root / "photos", n_each=10)
    done = imgreg("train", data, *ARGUMENTS, "--name", "tuned", "--models", root / "models", "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert (document["finetuned_block"], document["finetuned_from"], document["epochs_run"]) == ("block5", 2, 3)
    assert document["best_epoch"] >= 2  # of a head after one epoch, two more are better
    return root / "models" / "tuned"


def test_the_block_is_one_of_the_runs_files(run: Path) -> None:
    """It is in SHA256SUMS, the card names it, and the report says where VGG16 was unfrozen."""
    assert f"  {BLOCK_FILE}\n" in (run / "SHA256SUMS").read_text()
    assert json.loads((run / "model.json").read_text())["finetuned"] == "block5"
    assert "VGG16 was fine-tuned from epoch 2 on (block5)" in (run / "report.html").read_text(encoding="utf-8")


def test_predict_answers_as_the_history_says(run: Path) -> None:
    """OpenVINO with the tuned convolutions gives each validation photo's probabilities of the best epoch."""
    document = json.loads((run / "metrics.json").read_text())
    recorded = np.load(run / "val_probabilities.npy")[document["kept_epoch"] - 1]
    with (run / "split.csv").open() as file:
        paths = [run.parents[1] / "photos" / row["path"] for row in csv.DictReader(file) if row["split"] == "val"]
    tempered = recorded ** (1 / load_head(run).temperature)
    expected = tempered / tempered.sum(axis=1, keepdims=True)
    found = [list((one.probabilities or {}).values()) for one in predict(paths, classifier=load_classifier([run]))]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_its_keras_model_answers_as_predict(run: Path) -> None:
    """The tuned convolutions are in the model, each with its own head."""
    photo = next((run.parents[1] / "photos").rglob("*.jpg"))
    (found,) = predict([photo], classifier=load_classifier([run], precision="float32"))
    model = load_run(run).to_keras()
    answer = np.asarray(model(decode_file(photo, size_px=model.input_shape[1])[None]))[0]
    np.testing.assert_allclose(answer, list((found.probabilities or {}).values()), atol=1e-4)


def test_the_heads_layers_stay_recorded(run: Path) -> None:
    """What was measured while the head trained is in the run, fine-tuned or not."""
    assert read_run(run).history.layers


def test_every_command_takes_the_run(run: Path, tmp_path: Path) -> None:
    """evaluate scores the tuned network, explain looks through it, and verify trains the same bits again."""
    photos = run.parents[1] / "photos"
    scored = imgreg("evaluate", run, photos, "--json")
    assert scored.code == 0, scored.err
    one = next((photos / "warm").iterdir())
    explained = imgreg("explain", one, "--run", run, "--out", tmp_path / "maps")
    assert explained.code == 0, explained.err
    answer = imgreg("predict", one, "--run", run, "--json").json
    assert f"{answer['label']} {answer['probability']:.1%}" in explained.out
    again = imgreg("verify", run)
    assert again.code == 0, again.out
    assert "bit-identical" in again.out


def test_a_run_without_its_block_is_refused(run: Path, tmp_path: Path) -> None:
    """The frozen base would give other answers without a word."""
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / BLOCK_FILE).unlink()
    with pytest.raises(ArtefactError, match=BLOCK_FILE):
        load_classifier([tmp_path / "run"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--finetune", "block9"), "'block9' is not one of"),
        (("--finetune", "block5", "--set", "head.map_normalization=instance"), "cannot be combined"),
        (("--finetune", "block5", "--stored", "avg", "--set", "head.pool=avg"), "which fine-tuning needs"),
        (("--set", "finetune.epochs=3"), "without fine-tuning"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused(given: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Before any photo is read, with exit code 2."""
    done = imgreg("train", tmp_path / "none", *given, "--models", tmp_path / "models")
    assert done.code == 2
    assert said in " ".join(done.err.split())
