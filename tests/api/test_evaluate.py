"""evaluate and votes: the figures are those of predict's own answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sk

from conftest import TRAIN_ARGUMENTS, Trained, imgreg, paint_set
from imgreg.runs.evaluations import EVALUATIONS


@pytest.fixture(scope="module")
def second(trained: Trained) -> Path:
    """A run on another image size, so on another base."""
    arguments = [*TRAIN_ARGUMENTS, "--image-size", "96", "--seed", "5", "--name", "second"]
    done = imgreg("train", trained.data, *arguments, "--models", trained.folder.parent.parent / "others")
    assert done.code == 0, done.err
    return trained.folder.parent.parent / "others" / "second"


@pytest.fixture(scope="module")
def new_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint_set(tmp_path_factory.mktemp("new") / "data", n_each=9, seed=900)


def answers(*runs: Path, photos: Path, more: tuple[str, ...] = ()) -> list[dict]:
    named = [part for run in runs for part in ("--run", run)]
    done = imgreg("predict", photos, *named, *more, "--json")
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_figures_are_those_of_predicts_answers(trained: Trained, new_photos: Path) -> None:
    """Accuracy, AUC and log loss equal scikit-learn's on what predict says of the same files."""
    said = answers(trained.folder, photos=new_photos)
    true = np.array([Path(row["path"]).parent.name == "warm" for row in said]).astype(int)
    warm = np.array([row["probabilities"]["warm"] for row in said])
    done = imgreg("evaluate", trained.folder, new_photos, "--json")
    assert done.code == 0, done.err
    found = {name: figure["value"] for name, figure in done.json["figures"].items()}
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(true, warm > 0.5))
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(true, warm))
    assert found["log_loss"] == pytest.approx(sk.log_loss(true, warm), rel=1e-5)
    assert (done.json["n_photos"], done.json["notes"], done.json["vote"]) == (18, [], None)
    assert np.sum(done.json["confusion"]) == 18


def test_photos_that_were_trained_on_are_reported(trained: Trained) -> None:
    """Scoring a run on its own train photos says so."""
    done = imgreg("evaluate", trained.folder, trained.data)
    said = " ".join(done.out.split())  # whatever the lines' breaks
    assert "trained on" in said
    assert "was validated on" in said
    assert "too optimistic" in said


def test_photos_that_score_several_runs_are_reported(trained: Trained, second: Path, tmp_path: Path) -> None:
    """Each scoring is recorded; a second classifier on the same photos gets a warning, the same one again does not."""
    photos = paint_set(tmp_path / "data", n_each=3, seed=1300)
    ledger = trained.folder.parent / EVALUATIONS
    before = len(ledger.read_text().splitlines()) if ledger.exists() else 0
    found = [
        imgreg("evaluate", *runs, photos, "--json", "--reason", f"look {number}").json
        for number, runs in enumerate([(trained.folder,), (trained.folder,), (trained.folder, second)])
    ]
    told = "These 6 photos have been used to score 2 different runs; the best of several scores is optimistic."
    assert [(one["n_runs_scored"], one["notes"]) for one in found] == [(1, []), (1, []), (2, [told])]
    lines = [json.loads(line) for line in ledger.read_text().splitlines()][before:]
    assert [(line["reason"], line["n_photos"], line["runs"]) for line in lines] == [
        ("look 0", 6, ["first"]),
        ("look 1", 6, ["first"]),
        ("look 2", 6, ["first", "second"]),
    ]
    assert lines[0]["command"].startswith("imgreg evaluate first data --json")
    seen = imgreg("evaluate", trained.folder, trained.data, "--json").json
    assert seen["n_runs_scored"] == 0
    assert len(ledger.read_text().splitlines()) == before + 3  # photos that were trained on are not held out


def test_mirror_images_can_be_left_out_and_put_in(trained: Trained, new_photos: Path) -> None:
    """Other probabilities than by default in one case, the same in the other; the two cases differ."""
    default, off, on = (
        [json.loads(line) for line in done.out.splitlines()]
        for done in (
            imgreg("predict", new_photos, "--run", trained.folder, "--json", *more)
            for more in ((), ("--no-mirror",), ("--mirror",))
        )
    )
    assert on != off
    assert default in (on, off)
    scored = imgreg("evaluate", trained.folder, new_photos, "--mirror", "--json").json["figures"]["log_loss"]["value"]
    other = imgreg("evaluate", trained.folder, new_photos, "--no-mirror", "--json").json["figures"]["log_loss"]["value"]
    assert scored != other


def test_a_split_that_is_not_there_is_refused(trained: Trained) -> None:
    """Of photos without a split none are test photos."""
    done = imgreg("evaluate", trained.folder, trained.data, "--split", "test")
    assert (done.code, "no photos in split 'test'. Found: no split." in done.err) == (3, True)


@pytest.mark.parametrize("vote", ["mean", "majority"])
def test_a_vote_is_made_of_each_runs_answers(vote: str, trained: Trained, second: Path, new_photos: Path) -> None:
    """Three heads, two on one base: mean probabilities, counted votes, and the class that the rule gives."""
    runs = (trained.folder, second, trained.folder)
    each = [answers(run, photos=new_photos) for run in runs]
    together = answers(*runs, photos=new_photos, more=("--vote", vote))
    assert [row["path"] for row in together] == [row["path"] for row in each[0]]
    for i, row in enumerate(together):
        mean = {c: np.mean([one[i]["probabilities"][c] for one in each]) for c in ("cold", "warm")}
        votes = {c: sum(one[i]["label"] == c for one in each) for c in ("cold", "warm")}
        assert row["probabilities"] == pytest.approx(mean, abs=1e-6)
        assert row["votes"] == votes
        assert row["label"] == max(mean if vote == "mean" else votes, key=(mean if vote == "mean" else votes).get)
    scored = imgreg("evaluate", *runs, new_photos, "--vote", vote, "--json").json
    right = np.mean([row["label"] == Path(row["path"]).parent.name for row in together])
    assert scored["figures"]["accuracy"]["value"] == pytest.approx(right)


def test_a_broken_photo_does_not_shift_the_votes(trained: Trained, second: Path, tmp_path: Path) -> None:
    """Over two bases a file that cannot be read is reported once, in its place."""
    photos = paint_set(tmp_path / "data", n_each=2, seed=77)
    (photos / "cold" / "c00b.jpg").write_bytes(b"not a photo")
    named = ("--run", trained.folder, "--run", second)
    done = imgreg("predict", photos, *named, "--json")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 3
    assert ["error" in row for row in rows] == [False, True, False, False, False]
    assert all(sum(row["votes"].values()) == 2 for row in rows if "votes" in row)


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_a_vote_of_one_is_refused(command: str, trained: Trained, new_photos: Path) -> None:
    """--vote would have no effect."""
    arguments = ["--run", trained.folder, new_photos] if command == "predict" else [trained.folder, new_photos]
    done = imgreg(command, *arguments, "--vote", "majority")
    assert done.code == 2
    assert "no effect on a single run" in done.err


def test_other_classes_are_refused(trained: Trained, tmp_path: Path) -> None:
    """Labels that the run does not know cannot be scored."""
    photos = paint_set(tmp_path / "data", n_each=2)
    (photos / "warm").rename(photos / "hot")
    done = imgreg("evaluate", trained.folder, photos)
    assert done.code == 3
    assert "class 'hot', unknown to the run" in done.err


def test_too_many_unreadable_files_are_refused(trained: Trained, tmp_path: Path) -> None:
    """One in 7 is too many; what helps is an option that evaluate has, or another command."""
    photos = paint_set(tmp_path / "data", n_each=3, seed=1400)
    (photos / "warm" / "broken.jpg").write_bytes(b"no photo")
    done = imgreg("evaluate", trained.folder, photos)
    assert (done.code, "1 of 7 files cannot be read, expected at most 5%" in done.err) == (3, True)
    assert "--max-bad" not in done.err
