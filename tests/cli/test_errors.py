"""Bad input: a clear message on stderr, nothing on stdout, nothing left behind, and the right exit code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import TRAIN_ARGUMENTS, Trained, imgreg, imgreg_process, paint, paint_set

NEEDS_PIPES = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--epochs", "0"], 2, "'--epochs': 0 is not in the range 1<=x<=100000"),
        (["--epochs", "many"], 2, "'many' is not a valid integer"),
        (["--set", "training.epochs=0"], 2, "training.epochs = 0: expected 1 or more"),
        (["--epochz", "3"], 2, "Did you mean one of: '--epochs'"),
        (["--dropout", "1.5"], 2, "'--dropout': 1.5 is not in the range 0<=x<1"),
        (["--set", "head.dropuot=0.5"], 2, "Did you mean 'head.dropout'?"),
        (["--set", "head.dropout"], 2, "expected KEY=VALUE"),
        (["--set", "head.l2=0.1", "--l2", "0.2"], 2, "is given twice"),
        (["--recipe", "plian"], 2, "Did you mean 'plain'"),
        (["--recipe", "plain", "--views", "4"], 2, "no effect without augmentation"),
        (["--image-size", "5"], 2, "'--image-size' / '--imgsz': 5 is not in the range"),
        (["--augment", "nowhere.json", "--weights", "starter"], 4, "nowhere.json: albumentations cannot load"),
        (["--weights", "nowhere.safetensors"], 5, "not a file"),
        (["--name", "a/b"], 2, "not a valid run name"),
        (["--name", ""], 2, "'' is not a valid run name"),
        (["--epochs", "5", "--set", "training.patience_epochs=5"], 2, "it must be smaller"),
        (["--max-bad", "0"], 3, "1 of 33 files cannot be read"),
    ],
)  # fmt: skip
def test_bad_options(trained: Trained, tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    """Each bad option is answered by name, and no run appears."""
    done = imgreg("train", trained.data, *arguments, "--models", tmp_path / "models", "--json")
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err
    assert not [path for path in (tmp_path / "models").glob("*") if path.name != ".locks"]


def test_one_class(tmp_path: Path) -> None:
    """A single class folder is data unusable."""
    paint(tmp_path / "data" / "cats" / "a.jpg", warm=True, seed=0)
    done = imgreg("train", tmp_path / "data", "--models", tmp_path / "m")
    assert (done.code, "found 1 class (cats), expected 2 or more" in done.err) == (3, True)


def test_an_empty_class(tmp_path: Path) -> None:
    """An empty class folder is data unusable."""
    paint_set(tmp_path / "data", n_each=3)
    (tmp_path / "data" / "zebra").mkdir()
    done = imgreg("train", tmp_path / "data", "--models", tmp_path / "m")
    assert (done.code, "zebra: the class folder is empty" in done.err) == (3, True)


def test_an_existing_name_is_not_overwritten(trained: Trained) -> None:
    """Training into a taken name changes nothing."""
    before = (trained.folder / "metrics.json").read_bytes()
    done = imgreg("train", trained.data, *TRAIN_ARGUMENTS, "--name", "first", "--models", trained.folder.parent)
    assert (done.code, "exists already" in done.err) == (2, True)
    assert (trained.folder / "metrics.json").read_bytes() == before


def test_imagenet_without_network_is_an_error_in_time(trained: Trained, tmp_path: Path) -> None:
    """--weights imagenet with no way out ends within the decision's time, exit 5, with two ways out."""
    started = time.monotonic()
    done = imgreg_process(
        "train", trained.data, "--weights", "imagenet", "--models", tmp_path,
        env={"https_proxy": "http://127.0.0.1:9", "KERAS_HOME": str(tmp_path / "none")},
    )  # fmt: skip
    assert done.code == 5
    assert "--weights starter" in done.err
    assert "--weights PATH" in done.err
    assert time.monotonic() - started < 5 + 5  # the interpreter's own start included


def test_a_run_that_is_no_run(tmp_path: Path) -> None:
    """predict --run on an empty folder is an artefact refused; without any run, or with a name that is none, it is a
    usage error, which also names a photo that does not exist."""
    done = imgreg("predict", "x.jpg", "--run", tmp_path)
    assert (done.code, "is not a run" in done.err) == (4, True)
    done = imgreg("predict", "x.jpg", "--models", tmp_path)
    assert (done.code, "no run found" in done.err, "There is no photo x.jpg either" in done.err) == (2, True, True)
    done = imgreg("predict", "x.jpg", "--run", "mine", "--models", tmp_path)
    assert (done.code, f"found neither {tmp_path / 'mine'} nor mine" in done.err) == (2, True)


@pytest.mark.parametrize("command", ["predict", "evaluate", "explain", "verify"])
def test_a_comparison_is_no_run(command: str, tmp_path: Path) -> None:
    """Every command that takes a run names the runs of a comparison instead."""
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "comparison.json").write_text('{"runs": [{"name": "both-plain"}]}')
    photos = [] if command == "verify" else [tmp_path]
    done = imgreg(command, *photos, "--run", "both", "--models", tmp_path)
    assert (done.code, "both is a comparison. Choose one of its runs: both-plain." in done.err) == (2, True)


def test_evaluate_without_photos(trained: Trained) -> None:
    """A run alone is not taken for photos, and a run may not be named twice where one is used."""
    done = imgreg("evaluate", "first", "--models", trained.folder.parent)
    assert (done.code, "first is a run. Add the photos" in done.err) == (2, True)
    done = imgreg("verify", "first", "--run", "last", "--models", trained.folder.parent)
    assert (done.code, "found two runs" in done.err) == (2, True)


def test_options_without_effect_on_finished_runs(trained: Trained) -> None:
    """compare RUN RUN takes no training options."""
    done = imgreg("compare", trained.folder, trained.folder, "--epochs", "3")
    assert (done.code, "--epochs: no effect on finished runs" in done.err) == (2, True)


def test_diverging_ends_with_seven(trained: Trained, tmp_path: Path) -> None:
    """A learning rate that blows up ends with exit 7; the run holds the epochs before, says why it ended, and its best
    head answers."""
    wild = ("--learning-rate", "10", "--set", "optimizer.name=sgd", "--l2", "10", "--set", "head.units=[8]")
    wild = (*wild, "--epochs", "200")
    small = ("--weights", "starter", "--image-size", "64", "--folds", "0", "--recipe", "plain", "--models", tmp_path)
    done = imgreg("train", trained.data, *small, *wild)
    assert done.code == 7, done.err[-500:]
    assert "--learning-rate 1" in done.err
    (run,) = (path for path in tmp_path.iterdir() if path.name != ".locks")
    kept = json.loads((run / "metrics.json").read_text())
    assert 1 <= kept["best_epoch"] <= kept["epochs_run"] < 200
    assert f"diverged in epoch {kept['epochs_run'] + 1}" in done.err
    assert any("diverged in epoch" in line for line in kept["warnings"])
    assert imgreg("predict", next((trained.data / "warm").iterdir()), "--run", run).code == 0
    assert imgreg("verify", run).code == 0  # it diverges in the same way again


def test_one_head_of_a_comparison_may_diverge(trained: Trained, tmp_path: Path) -> None:
    """Exit 7 names the run; the others and the comparison are whole."""
    wild = tmp_path / "wild.toml"
    wild.write_text(
        'name = "wild"\n[head]\nunits = [8]\nl2 = 10\n'
        '[optimizer]\nname = "sgd"\nlearning_rate = 10\n[training]\nepochs = 60\n'
    )
    small = ("--weights", "starter", "--image-size", "64", "--folds", "0", "--models", tmp_path / "m", "--name", "c")
    small = (*small, "--sanity-baselines", "none")
    done = imgreg("compare", trained.data, *small, "--recipes", f"tiny,{wild}", "--epochs", "60")
    assert done.code == 7, done.err[-500:]
    assert f"{tmp_path / 'm' / 'c-wild'}: training diverged in epoch" in done.err
    assert (tmp_path / "m" / "c" / "report.html").is_file()
    assert json.loads((tmp_path / "m" / "c-tiny" / "metrics.json").read_text())["epochs_run"] == 60


def test_a_signal_leaves_nothing_half_made(trained: Trained, tmp_path: Path) -> None:
    """SIGTERM ends with its code, and the half-made run is gone (Ctrl-C: test_faults.py)."""
    long = (*TRAIN_ARGUMENTS, "--epochs", "100000")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "imgreg",
            "train",
            trained.data,
            *long,
            "--models",
            tmp_path,
        ],
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*.partial")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err.decode()[-500:]
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]


def test_a_file_that_may_not_be_read_does_not_stop_predict(trained: Trained, tmp_path: Path) -> None:
    """A missing photo named on the command line is one photo's error, and the others are answered."""
    good = sorted((trained.data / "warm").iterdir())[0]
    done = imgreg("predict", tmp_path / "none.jpg", good, "--run", trained.folder)
    assert done.code == 3
    assert f"{tmp_path / 'none.jpg'}: cannot be opened" in done.err
    assert str(good) in done.out


@NEEDS_PIPES
def test_hostile_files_cost_their_own_answer_only(trained: Trained, tmp_path: Path) -> None:
    """A picture that unpacks to more memory than a reader may have, a pipe that nobody writes to, and a name of 300
    bytes get an error each; the photos before and after them are answered, with the probabilities they have alone."""
    photos = tmp_path / "photos"
    shutil.copytree(trained.data / "warm", photos)
    Image.new("1", (13_000, 13_000)).save(photos / "m-bomb.png", transparency=0)  # 20 kB; over 2 GB to lay over white
    os.mkfifo(photos / "n-pipe.jpg")
    done = imgreg("predict", photos, tmp_path / ("x" * 300), "--run", trained.folder, "--json")
    assert done.code == 3
    answers = {Path(row["path"]).name: row for row in map(json.loads, done.out.splitlines())}
    assert answers["m-bomb.png"]["error"] == "decoding it needs more memory than imgreg allows per photo"
    assert answers["n-pipe.jpg"]["error"] == "not a regular file"
    assert answers["x" * 300]["error"] == "cannot be opened: File name too long"
    good = sorted(path.name for path in (trained.data / "warm").iterdir())
    assert [name for name, row in answers.items() if "label" in row] == good
    alone = imgreg("predict", photos / good[-1], "--run", trained.folder, "--json").json
    assert alone["probabilities"] == answers[good[-1]]["probabilities"]


COMPLAINS = "from PIL import Image; import sys; Image.open(sys.argv[1]).load()"


@pytest.fixture
def fax(tmp_path: Path) -> Path:
    """A readable photo of which libtiff complains, as a process without imgreg shows."""
    photo = tmp_path / "fax.tif"
    image = Image.fromarray(np.random.default_rng(0).integers(0, 2, (64, 64), dtype=np.uint8) > 0)
    image.save(photo, compression="group3")
    data = bytearray(photo.read_bytes())
    data[8:60] = bytes(52)
    photo.write_bytes(data)
    done = subprocess.run([sys.executable, "-c", COMPLAINS, photo], capture_output=True, text=True, check=False)
    assert (done.returncode, "Fax3Decode1D: Bad code word" in done.stderr) == (0, True)
    return photo


@pytest.mark.parametrize("n_photos", [1, 2])
def test_what_libtiff_says_stays_off_stderr(trained: Trained, fax: Path, n_photos: int) -> None:
    """Alone or among others: it is answered, and predict's stderr is empty."""
    others = sorted((trained.data / "warm").iterdir())[: n_photos - 1]
    done = imgreg_process("predict", fax, *others, "--run", trained.folder)
    assert (done.code, done.err) == (0, "")
    assert "fax.tif" in done.out


def test_what_libtiff_says_in_a_set_of_photos_stays_off_stderr(trained: Trained, fax: Path, tmp_path: Path) -> None:
    """check and train read it in other processes, then for features in their own: none of libtiff's lines, none of
    TensorFlow's start-up notices, only imgreg's own."""
    data = Path(shutil.copytree(trained.data, tmp_path / "data"))
    shutil.copy(fax, data / "warm")
    checked = imgreg_process("check", data)
    assert checked.code == 0
    small = (
        *TRAIN_ARGUMENTS[:4],
        "--folds",
        "0",
        "--recipe",
        "tiny",
        "--epochs",
        "1",
        "--sanity-baselines",
        "majority",
    )
    done = imgreg_process("train", data, *small, "--models", tmp_path / "models", "--name", "run")
    assert done.code == 0, done.err
    assert "fax.tif" in (tmp_path / "models" / "run" / "split.csv").read_text()
    assert "Fax3" not in checked.err + done.err
    assert done.err
    assert all(line.startswith("imgreg: ") for line in done.err.splitlines()), done.err


def test_an_empty_folder_to_predict(trained: Trained, tmp_path: Path) -> None:
    """A folder without photos is an error."""
    done = imgreg("predict", tmp_path, "--run", trained.folder)
    assert (done.code, "found no photos to predict" in done.err) == (3, True)


def test_one_run_alone_cannot_be_compared(trained: Trained) -> None:
    """A single run folder is not mistaken for photos."""
    done = imgreg("compare", trained.folder)
    assert (done.code, "found one run" in done.err) == (2, True)


def test_ranges_without_any_augmentation(trained: Trained, tmp_path: Path) -> None:
    """compare's augmentation settings need a recipe that augments."""
    done = imgreg(
        "compare", trained.data, "--augment", "none", "--set", "augmentation.zoom_range=0.1", "--models", tmp_path
    )
    assert (done.code, "none of the recipes uses augmentation" in done.err) == (2, True)


def test_preview_writes_png_only_and_one_choice_of_views(trained: Trained, tmp_path: Path) -> None:
    """A name that is no PNG, a folder that is not there, and two sources of views are refused; nothing is made."""
    done = imgreg("preview", trained.data, "--out", tmp_path / "sheet.jpg")
    assert (done.code, "ending in .png" in done.err) == (2, True)
    done = imgreg("preview", trained.data, "--out", tmp_path / "nope" / "sheet.png")
    assert (done.code, f"there is no folder {tmp_path / 'nope'}" in done.err, list(tmp_path.iterdir())) == (2, True, [])
    done = imgreg("preview", trained.data, "--augment", "a.json", "--recipe", "regularized")
    assert (done.code, "cannot be combined" in done.err) == (2, True)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_other_code_swallows_is_raised_again(
    trained: Trained, tmp_path: Path, sent: signal.Signals, code: int
) -> None:
    """A library that catches everything cannot keep the program running: the next step ends it.

    In a process of its own, since a signal may end the one that runs the tests.
    """
    swallowing = (
        "import os, sys, time\n"
        "from imgreg.cli import main\n"
        "from imgreg.training import prepare\n"
        "def swallowing():\n"
        "    try:\n"
        f"        os.kill(os.getpid(), {int(sent)})\n"
        "        time.sleep(5)\n"
        "    except BaseException as swallowed:\n"
        "        print('swallowed', type(swallowed).__name__)\n"
        "prepare.load_keras = swallowing\n"
        "main()\n"
    )
    arguments = ["train", trained.data, *TRAIN_ARGUMENTS, "--models", tmp_path]
    done = subprocess.run(
        [sys.executable, "-c", swallowing, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert done.stdout in ("swallowed KeyboardInterrupt\n", "swallowed TerminatedError\n")
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]
