"""What is mailed or published names no folder of the machine that made it; commands that need the folders find them."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest

from conftest import TRAIN_ARGUMENTS, Trained, imgreg, naming
from imgreg.config import Augmentation
from imgreg.data.augment import _equivalent_pipeline
from imgreg.features.weights import starter_path
from imgreg.paths import shared_command, shared_path, shared_text


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder for this test, and a working folder elsewhere."""
    home = tmp_path / "home" / "alice"
    (tmp_path / "elsewhere").mkdir()
    home.mkdir(parents=True)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.chdir(tmp_path / "elsewhere")
    return home


def test_a_run_names_no_folder(trained: Trained) -> None:
    """Outside the home folder too: every file but environment.json is free of the paths that were typed."""
    assert naming(trained.folder, trained.data.parent) == []
    private = json.loads((trained.folder / "environment.json").read_text())
    assert private["data"] == str(trained.data)
    assert str(trained.data) in private["command"]


def test_a_run_made_in_the_home_folder_can_be_used_there_and_names_it_nowhere(
    home: Path, trained: Trained, tmp_path: Path
) -> None:
    """Photos, weights and a pipeline in the home folder, typed in full: no file but environment.json names it; report,
    predict, verify and compare find what they need."""
    data = Path(shutil.copytree(trained.data, home / "my photos"))
    weights = Path(shutil.copy(starter_path(), home / "mine.safetensors"))
    pipeline = _equivalent_pipeline(Augmentation(backend="albumentations"))
    (home / "mine.json").write_text(json.dumps(pipeline))
    arguments = (
        *TRAIN_ARGUMENTS[2:],
        "--weights",
        weights,
        "--augment",
        home / "mine.json",
        "--models",
        home / "models",
    )
    done = imgreg("train", data, *arguments, "--name", "run", "--json")
    assert done.code == 0, done.err
    run = home / "models" / "run"
    assert done.json["run"] == str(run)
    assert imgreg("report", run).code == 0
    assert naming(run, home) == []
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["run"] == "run"
    assert metrics["command"].startswith("imgreg train ~/'my photos' --image-size 64")
    assert "~/mine.safetensors" in metrics["command"]
    assert 'weights = "~/mine.safetensors"' in (run / "config.toml").read_text()
    assert json.loads((run / "model.json").read_text())["weights"] == "~/mine.safetensors"

    assert imgreg("predict", next((data / "warm").iterdir()), "--run", run).code == 0
    verified = imgreg("verify", run)
    assert (verified.code, "bit-identical" in verified.out) == (0, True), verified.out

    for models in (home / "models", tmp_path / "elsewhere" / "models"):
        compared = imgreg("compare", run, trained.folder, "--models", models, "--name", "both")
        assert compared.code == 0, compared.err
        assert imgreg("report", models / "both").code == 0  # it finds both runs again
        assert naming(models / "both", home) == []


def test_an_old_runs_report_is_shortened_too(home: Path, trained: Trained, tmp_path: Path) -> None:
    """A run whose files hold whole paths, as those of older versions: its rebuilt report has none of them."""
    run = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    (run / "SHA256SUMS").unlink()
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(
        json.dumps(metrics | {"run": str(home / "r"), "command": f"imgreg train {home}/d"})
    )
    (run / "skipped.csv").write_text(f"path,reason\n{home}/d/a.jpg,damaged\n")
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace('"starter"', json.dumps(str(home / "w.safetensors"))))
    assert imgreg("report", run).code == 0
    page = (run / "report.html").read_text()
    assert str(home) not in page
    assert str(tmp_path) not in page
    assert "imgreg train ~/d" in page
    assert "~/w.safetensors" in page


@pytest.mark.parametrize(
    ("typed", "shared"),
    [
        (["imgreg", "train", "data", "--name", "x y"], "imgreg train data --name 'x y'"),
        (["imgreg", "train", "HOME/data"], "imgreg train ~/data"),
        (["imgreg", "train", "HOME"], "imgreg train ~"),
        (["imgreg", "train", "HOME/my data/a"], "imgreg train ~/'my data/a'"),
        (["imgreg", "train", "/srv/pets", "--weights=/srv/w.safetensors"], "imgreg train pets --weights=w.safetensors"),
        (["imgreg", "train", "d", "--weights=HOME/w"], "imgreg train d --weights ~/w"),
        (["imgreg", "compare", "d", "--recipes", "plain,HOME/a.toml"], "imgreg compare d --recipes 'plain,~/a.toml'"),
        (["imgreg", "train", "HOMER/data"], "imgreg train data"),
        (["imgreg", "train", "d", "--set", "base.weights=HOME/w"], "imgreg train d --set 'base.weights=~/w'"),
    ],
)  # fmt: skip
def test_commands_are_shortened(home: Path, typed: list[str], shared: str) -> None:
    """Each path of a command by ~ or by its name; everything else as it was typed. HOME is the home folder."""
    command = shlex.join(word.replace("HOME", str(home)) for word in typed)
    assert shared_command(command) == shared
    assert shared_command(shared) == shared


def test_paths_and_messages_are_shortened(home: Path) -> None:
    """A folder whose name begins like the home folder's is another; a message keeps all but the places."""
    assert shared_path(home) == "~"
    assert shared_path(f"{home}2/x") == "x"
    assert shared_path("a/b") == "a/b"
    assert shared_text(f"{home}/a and {home}2/b, '{home}'") == f"~/a and {home}2/b, '~'"
    assert shared_text(f"see {home}/set/a.jpg", home / "set") == "see set/a.jpg"
