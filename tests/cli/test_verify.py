"""imgreg verify: the run's files, and the run trained again."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import Trained, imgreg
from imgreg.runs.checksums import NAME, changed_files, read_sums, renew_sums
from imgreg.training import dataset as prepare


@pytest.fixture
def run(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the trained run."""
    return Path(shutil.copytree(trained.folder, tmp_path / "run"))


def test_a_run_comes_out_the_same_again(run: Path) -> None:
    """Files, head and history, to the bit; nothing of the run or beside it changes."""
    before = {path: path.read_bytes() for path in run.parent.rglob("*") if path.is_file()}
    done = imgreg("verify", run)
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "All files are unchanged.",
        "Reproduced: the head and the history are bit-identical.",
    ]
    assert {path: path.read_bytes() for path in run.parent.rglob("*") if path.is_file()} == before


def test_another_seed_is_not_the_same_run(run: Path) -> None:
    """A config.toml that was changed is named, what came out is another head, and the exit code says so."""
    config = run / "config.toml"
    config.write_text(config.read_text().replace("seed = 0", "seed = 1", 1))
    done = imgreg("verify", run, "--json")
    assert done.code == 4
    assert done.json["files"] == ["config.toml has changed"]
    assert done.json["same_when_trained_again"] is False
    assert done.json["differences"][0] == "The head differs."
    assert "differs from epoch 1" in done.json["differences"][1]


def test_photos_that_have_gone_or_come_are_the_reason(run: Path, trained: Trained, tmp_path: Path) -> None:
    """One photo less, one more: both are reported."""
    data = Path(shutil.copytree(trained.data, tmp_path / "data"))
    gone = next(row for row in (run / "split.csv").read_text().splitlines()[1:] if ",train," in row).split(",")[0]
    (data / gone).unlink()
    done = imgreg("verify", run, "--data", data, "--json")
    assert done.code == 4
    assert "1 train photos are missing, 0 are new." in done.json["reasons"]


def test_every_kind_of_change_is_named(run: Path) -> None:
    """Changed, gone, come: without training, and sha256sum agrees on what was changed."""
    (run / "skipped.csv").write_text("path,reason\n")
    (run / "views.png").unlink()
    (run / "notes.txt").write_text("mine")
    done = imgreg("verify", run, "--files-only")
    assert done.code == 4
    assert done.out.splitlines() == ["notes.txt is new", "skipped.csv has changed", "views.png is missing"]
    told = subprocess.run(["sha256sum", "-c", "--quiet", NAME], cwd=run, capture_output=True, text=True, check=False)
    assert "skipped.csv: FAILED" in told.stdout
    assert told.returncode == 1


def test_a_damaged_run_is_named_rather_than_trained(run: Path) -> None:
    """A head with one flipped bit is reported as a changed file, with why the run cannot be used."""
    data = bytearray((run / "head.safetensors").read_bytes())
    data[-1] ^= 1
    (run / "head.safetensors").write_bytes(data)
    done = imgreg("verify", run, "--json")
    assert (done.code, done.json["files"]) == (4, ["head.safetensors has changed"])
    assert "SHA-256 differs" in done.json["differences"][0]


def test_a_report_made_anew_is_listed_anew_and_nothing_else_is(run: Path) -> None:
    """report renews the sums of what it draws; a file that was changed before is still reported."""
    (run / "augmentation.json").write_text("{}")
    assert imgreg("report", run).code == 0
    assert changed_files(run) == ("augmentation.json has changed",)


def test_a_file_that_was_changed_is_not_read(run: Path) -> None:
    """Files that were edited by hand give no report and no prediction; the message names the file."""
    text = (run / "history.csv").read_text()
    (run / "history.csv").write_text(text.replace("0.", "1.", 1))
    done = imgreg("report", run)
    assert (done.code, f"{run}/history.csv has changed (SHA-256 differs" in done.err) == (4, True)
    card = (run / "model.json").read_text()
    (run / "model.json").write_text(card.replace('"cold"', '"warm"', 1))
    done = imgreg("predict", run / "views.png", "--run", run)
    assert (done.code, f"{run}/model.json has changed (SHA-256 differs" in done.err) == (4, True)


def test_one_damaged_run_among_three_is_named_and_the_others_compared(
    trained: Trained, run: Path, tmp_path: Path
) -> None:
    """Exit 4, the file, and the comparison of the two that are whole."""
    (run / "metrics.json").write_text("{}")
    done = imgreg("compare", trained.folder, run, trained.folder, "--models", tmp_path / "m", "--name", "two")
    assert done.code == 4
    assert f"{run}/metrics.json has changed (SHA-256 differs" in done.err
    assert f"The other 2 runs were compared: {tmp_path / 'm' / 'two' / 'report.html'}" in done.err
    table = json.loads((tmp_path / "m" / "two" / "comparison.json").read_text())["table"]
    assert len(table) == 2
    alone = imgreg("compare", trained.folder, run, "--models", tmp_path / "m", "--name", "one")
    assert (alone.code, (tmp_path / "m" / "one").exists()) == (4, False)


def test_a_run_of_an_older_imgreg_has_no_list(run: Path) -> None:
    """Nothing is made up, and report does not begin one."""
    (run / NAME).unlink()
    renew_sums(run, ["report.html"])
    assert read_sums(run) is None
    done = imgreg("verify", run, "--files-only")
    assert (done.code, done.out) == (0, "The run has no SHA256SUMS to check against.\n")


@pytest.mark.parametrize("named", [{"data": "/nowhere/at/all"}, {}])
def test_photos_that_are_not_there_are_asked_for(run: Path, named: dict[str, str]) -> None:
    """Exit 3 and --data, also where the run does not say which photos they were: never the current folder."""
    environment = json.loads((run / "environment.json").read_text())
    del environment["data"]
    (run / "environment.json").write_text(json.dumps(environment | named))
    done = imgreg("verify", run)
    assert done.code == 3
    assert f"Give their {'current ' if named else ''}location with --data" in done.err


def test_verify_reads_every_photo(run: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of files is good for training, not for holding a run against its photos."""
    asked: list[object] = []
    real = prepare.index_photos
    monkeypatch.setattr(prepare, "index_photos", lambda *a, **k: asked.append(k["file_cache"]) or real(*a, **k))
    assert imgreg("verify", run, "-q").code == 0
    assert asked == [None]
