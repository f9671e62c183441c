"""What a run keeps beside its head, and what predict makes of it: temperature, prediction sets, photos out of place."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from conftest import Trained, imgreg
from imgreg.analysis.calibration import calibrate
from imgreg.analysis.conformal import conformal_thresholds, held_out_scores
from imgreg.analysis.novelty import leave_one_out_threshold
from imgreg.heads.calibration import CalibrationArrays, apply_temperature, load_calibration, save_calibration
from imgreg.heads.store import ModelCard, load_head
from imgreg.runs.checksums import write_sums
from imgreg.runs.folder import read_run
from imgreg.training.calibration import keep_calibration


@pytest.fixture
def run(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the trained run."""
    return Path(shutil.copytree(trained.folder, tmp_path / "models" / "run"))


def recalibrate(run: Path, *, temperature: float = 1.0, n_held_out: int = 19, threshold: float | None = 2.0) -> None:
    """Give a run another temperature and threshold, and scores of so many held-out photos a class."""
    head = load_head(run)
    scores = tuple(np.linspace(0.05, 0.95, n_held_out, dtype=np.float32) for _ in head.card.classes)
    assert head.calibration is not None
    arrays = CalibrationArrays(scores, head.calibration.references)
    calibration = save_calibration(run, arrays, temperature=temperature, threshold=threshold)
    _write(run, msgspec.structs.replace(head.card, calibration=calibration))


def _write(run: Path, card: ModelCard) -> None:
    (run / "model.json").write_bytes(msgspec.json.encode(card))
    write_sums(run)


def answers(photos: Path, run: Path, *more: object) -> list[dict]:
    done = imgreg("predict", photos, "--run", run, "--json", *more)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_a_run_keeps_what_its_held_out_photos_say(trained: Trained) -> None:
    """Temperature, scores and figures follow from the best epoch's validation probabilities."""
    run, head = read_run(trained.folder), load_head(trained.folder)
    assert head.card.calibration is not None
    assert head.calibration is not None
    labels = [run.summary.classes.index(row.label) for row in run.split if row.split == "val"]
    p = run.history.val_probabilities[run.summary.kept_epoch - 1]
    assert run.summary.calibration == calibrate(labels, p)
    assert head.temperature == run.summary.calibration.temperature
    expected = held_out_scores(labels, apply_temperature(p, head.temperature), n_classes=2)
    for ours, theirs in zip(head.calibration.held_out, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_scores_are_kept_after_temperature(tmp_path: Path) -> None:
    """A held-out photo's score is the probability that predict would give it, not the head's own."""
    references = np.ones((30, 4), np.float16)
    p = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    kept = keep_calibration(tmp_path, labels=np.array([0, 1]), probabilities=p, references=references, temperature=2.0)
    scores = load_calibration(tmp_path, kept, n_channels=4).held_out
    assert np.concatenate(scores) == pytest.approx([0.75, 2 / 3], abs=1e-6)
    assert kept.temperature == 2.0


def test_a_run_keeps_descriptors_of_its_train_photos(trained: Trained) -> None:
    """Train photos lie within the threshold, since each is among the references itself."""
    run, head = read_run(trained.folder), load_head(trained.folder)
    assert head.calibration is not None
    assert head.card.calibration is not None
    assert len(head.calibration.references) == run.summary.n_train
    assert head.card.calibration.novelty_threshold == leave_one_out_threshold(head.calibration.references)
    trained_on = {row.path for row in run.split if row.split == "train"}
    found = [
        row for row in answers(trained.data / "warm", trained.folder) if f"warm/{Path(row['path']).name}" in trained_on
    ]
    assert len(found) > 5
    assert all(row["training_distance"] < row["training_distance_threshold"] for row in found)
    assert not any(row["unlike_training"] for row in found)


def test_predict_applies_the_temperature(run: Path, trained: Trained) -> None:
    """Probabilities are those of the run at temperature 1, softened; labels stay."""
    plain = answers(trained.data / "warm", run)
    recalibrate(run, temperature=3.0)
    soft = answers(trained.data / "warm", run)
    assert [row["label"] for row in soft] == [row["label"] for row in plain]
    for before, after in zip(plain, soft, strict=True):
        p = np.array([list(before["probabilities"].values())])
        expected = apply_temperature(p, 3.0)[0]
        assert list(after["probabilities"].values()) == pytest.approx(expected, abs=1e-6)
        assert after["probability"] < before["probability"]


def test_evaluate_applies_the_temperature(run: Path, trained: Trained) -> None:
    """The log loss is that of predict's own probabilities, not that of the head as it was trained."""
    recalibrate(run, temperature=5.0)
    photos = [path for name in ("cold", "warm") for path in sorted((trained.data / name).glob("[cw]??.jpg"))]
    said = [json.loads(line) for line in imgreg("predict", *photos, "--run", run, "--json").out.splitlines()]
    done = imgreg("evaluate", run, trained.data, "--json")
    assert done.code == 0, done.err
    expected = np.mean([-np.log(row["probabilities"][Path(row["path"]).parent.name]) for row in said])
    assert done.json["figures"]["log_loss"]["value"] == pytest.approx(expected, rel=1e-5)


def test_each_voter_has_its_own_temperature(run: Path, trained: Trained) -> None:
    """The vote is the mean of the probabilities that each run gives by itself."""
    recalibrate(run, temperature=4.0)
    photo = sorted((trained.data / "warm").iterdir())[0]
    (soft,), (plain,) = answers(photo, run), answers(photo, trained.folder)
    done = imgreg("predict", photo, "--run", run, "--run", trained.folder, "--json")
    voted = json.loads(done.out)
    assert soft["probability"] != plain["probability"]
    mean = np.mean([[one["probabilities"]["warm"]] for one in (soft, plain)])
    assert voted["probabilities"]["warm"] == pytest.approx(mean, abs=1e-6)
    assert "unlike_training" not in voted
    assert "Several runs vote: photos unlike" in done.err


def test_sets_follow_from_the_kept_scores(run: Path, trained: Trained) -> None:
    """The set has just the classes whose probability reaches their threshold; text, JSON and CSV say the same."""
    recalibrate(run, temperature=4.0)  # so that several answers lie near a half
    head = load_head(run)
    assert head.calibration is not None
    thresholds = conformal_thresholds(head.calibration.held_out, confidence=0.6)
    photos = trained.data / "warm"
    documents = answers(photos, run, "--confidence", "0.6")
    for row in documents:
        inside = [c for c, least in zip(("cold", "warm"), thresholds, strict=True) if row["probabilities"][c] >= least]
        assert row["prediction_set"] == inside
        assert row["abstained"] == (len(inside) != 1)
    table = csv.DictReader(imgreg("predict", photos, "--run", run, "--csv", "--confidence", "0.6").out.splitlines())
    lines = imgreg("predict", photos, "--run", run, "--confidence", "0.6").out.splitlines()
    for row, cells, line in zip(documents, table, lines, strict=True):
        assert cells["prediction_set"] == "|".join(row["prediction_set"])
        assert cells["abstained"] == str(row["abstained"]).lower()
        assert line.split()[0] == ("abstained" if row["abstained"] else row["prediction_set"][0])


@pytest.mark.parametrize(
    ("least", "confidence", "answer", "words"),
    [(0.0, 0.9, ["cold", "warm"], "cold or warm at 0.9 confidence"), (1.0, 0.9, [], "no class at 0.9 confidence")],
)
def test_predict_abstains_in_words(
    run: Path, trained: Trained, least: float, confidence: float, answer: list[str], words: str
) -> None:
    """Where both classes pass, or none, the answer is "abstained" and says which."""
    head = load_head(run)
    assert head.calibration is not None
    arrays = CalibrationArrays((np.full(19, least, np.float32),) * 2, head.calibration.references)
    _write(
        run,
        msgspec.structs.replace(head.card, calibration=save_calibration(run, arrays, temperature=3.0, threshold=2.0)),
    )
    photo = sorted((trained.data / "warm").iterdir())[0]
    assert answers(photo, run, "--confidence", confidence)[0]["prediction_set"] == answer
    line = imgreg("predict", photo, "--run", run, "--confidence", confidence).out
    assert line.startswith("abstained ")
    assert words in line


def test_too_few_held_out_photos_are_told(run: Path, trained: Trained) -> None:
    """One photo fewer than the level needs: refused with the number needed, the class and the level that can be had."""
    photo = sorted((trained.data / "warm").iterdir())[0]
    recalibrate(run, n_held_out=19)
    assert answers(photo, run, "--confidence", "0.95")[0]["prediction_set"] is not None
    recalibrate(run, n_held_out=18)
    done = imgreg("predict", photo, "--run", run, "--confidence", "0.95")
    assert (done.code, done.out) == (2, "")
    assert "--confidence 0.95 needs 19 held-out photos per class, found 18 of class cold" in done.err
    assert "Use --confidence 0.94 or less" in done.err
    assert imgreg("predict", photo, "--run", run, "--confidence", "0.94").code == 0


def test_several_runs_have_no_sets(run: Path, trained: Trained) -> None:
    """A level beside several runs is refused with the reason."""
    photo = sorted((trained.data / "warm").iterdir())[0]
    done = imgreg("predict", photo, "--run", run, "--run", trained.folder, "--confidence", "0.5")
    assert (done.code, done.out) == (2, "")
    assert "of a single run, but several runs vote" in done.err


@pytest.mark.parametrize("level", ["0", "1", "1.5", "nan"])
def test_impossible_levels_are_refused(run: Path, trained: Trained, level: str) -> None:
    """A level is a share between 0 and 1, neither included."""
    done = imgreg("predict", trained.data / "warm", "--run", run, "--confidence", level)
    assert (done.code, "--confidence" in done.err, "Traceback" in done.err) == (2, True, False)


@pytest.fixture
def odd_photo(tmp_path: Path) -> Path:
    """A picture of another kind: a black and white checkerboard."""
    squares = (np.indices((96, 96)).sum(axis=0) // 12 % 2 * 255).astype(np.uint8)
    Image.fromarray(squares).convert("RGB").save(tmp_path / "board.png")
    return tmp_path / "board.png"


def test_a_photo_of_another_kind_is_marked(trained: Trained, odd_photo: Path) -> None:
    """A checkerboard is no painted cloud: JSON, CSV and text say so, with the distance and the threshold."""
    (row,) = answers(odd_photo, trained.folder)
    assert row["unlike_training"] is True
    assert row["training_distance"] > row["training_distance_threshold"] > 0
    (cells,) = csv.DictReader(imgreg("predict", odd_photo, "--run", trained.folder, "--csv").out.splitlines())
    assert cells["unlike_training"] == "true"
    assert float(cells["training_distance"]) == pytest.approx(row["training_distance"], abs=1e-6)
    line = imgreg("predict", odd_photo, "--run", trained.folder).out
    assert f"unlike the training photos: distance {row['training_distance']:.3f}" in line


def test_a_run_of_an_older_imgreg_predicts(run: Path, trained: Trained) -> None:
    """Without calibration in model.json: the head's own probabilities and no mark; a level is refused."""
    _write(run, msgspec.structs.replace(load_head(run).card, calibration=None))
    photo = sorted((trained.data / "warm").iterdir())[0]
    (row,) = answers(photo, run)
    assert row.keys() == {"path", "label", "probability", "probabilities"}
    done = imgreg("predict", photo, "--run", run, "--confidence", "0.5")
    assert (done.code, "runs of older imgreg versions lack" in done.err) == (2, True)


def test_the_report_says_the_temperature(run: Path) -> None:
    """The sentence has the run's own figures; with too few photos it says why there is no temperature."""
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["calibration"]["note"] in (run / "report.html").read_text(encoding="utf-8")
    metrics["calibration"] |= {"temperature": 1.23, "n_photos": 77, "log_loss_before": 0.987, "note": ""}
    (run / "metrics.json").write_text(json.dumps(metrics))
    write_sums(run)
    assert imgreg("report", run).code == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert f"a temperature of 1.23, fitted to the {metrics['n_val']} validation photos" in page
    assert "the log loss from 0.987 to" in page
