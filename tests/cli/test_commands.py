"""Each command as a user types it, on tiny painted photos."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest
from PIL import Image

from conftest import TRAIN_ARGUMENTS, Trained, imgreg, imgreg_process, naming, one_of_each, paint_set
from imgreg import __version__
from imgreg.cli import COMMANDS


@pytest.fixture(scope="module")
def compared(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    models = tmp_path_factory.mktemp("compared")
    done = imgreg("compare", trained.data, *TRAIN_ARGUMENTS, "--name", "both", "--models", models, "--json")
    assert done.code == 0, done.err
    return models, done.json


def test_help_lists_every_command() -> None:
    """`imgreg --help`, in a process of its own; tests/test_architecture.py holds what it may load."""
    done = imgreg_process("--help")
    assert done.code == 0
    assert all(name in done.out for name in COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_help_has_an_example(name: str) -> None:
    """Each command's --help shows how it is typed."""
    done = imgreg(name, "--help")
    assert done.code == 0
    assert f"Example:\n    imgreg {name}" in done.out


def test_runs_can_be_sorted_by_what_its_help_lists() -> None:
    """The choices are written in the command, which imports nothing of runs for --help; the keys are where the list is
    made."""
    from imgreg.cli.runs import command
    from imgreg.runs.listing import SORTS

    (sort,) = [one for one in command.params if one.name == "sort"]
    assert list(sort.type.choices) == list(SORTS)


def test_help_of_a_command_and_its_own_commands() -> None:
    """`imgreg help cache clear` is `imgreg cache clear --help`; a mistyped name is answered with the likely one."""
    assert imgreg("help", "cache", "clear").out == imgreg("cache", "clear", "--help").out
    assert imgreg("help").out == imgreg("--help").out
    for words in (("trian",), ("help", "trian")):
        done = imgreg(*words)
        assert (done.code, "Did you mean 'train'?" in done.err) == (2, True)
    assert "Did you mean 'clear'?" in imgreg("help", "cache", "cler").err


@pytest.mark.parametrize(
    ("name", "epochs"),
    [
        ("train", "40 (regularized)"),
        ("compare", "100 (plain), 40 (regularized)"),
        ("study", "the recipe's"),
        ("learning-curve", "40 (regularized)"),
        ("label-issues", "100 (low_lr)"),
    ],
)
def test_common_options_come_first_and_all_are_listed_once(name: str, epochs: str) -> None:
    """Every option is under one heading, and the recipes' own defaults are shown."""
    from imgreg.cli import root

    text = imgreg(name, "--help").out
    assert text.index("Common options:") < text.index("--epochs N") < text.index("VGG16 and its features:")
    command = root.get_command(click.Context(root), name)
    assert command is not None
    shown = re.findall(r"^  (?:-., )?(--[a-z0-9-]+)", text, re.MULTILINE)
    flags = [max(param.opts, key=len) for param in command.params if isinstance(param, click.Option)]
    assert sorted(shown) == sorted([*flags, "--help"])
    assert f"Maximum number of epochs. [default: {epochs};" in " ".join(text.split())


def test_short_names_of_options(trained: Trained, tmp_path: Path) -> None:
    """--lr, --batch and --imgsz are --learning-rate, --batch-size and --image-size."""
    for flag, low in (("--lr", "0<x<=10"), ("--batch", "1<=x<=65536"), ("--imgsz", "32<=x<=1024")):
        done = imgreg("train", trained.data, flag, "0", "--models", tmp_path)
        assert (done.code, f"'{flag}': 0" in done.err, low in done.err) == (2, True, True)


def test_version() -> None:
    """--version prints the version and nothing else."""
    assert imgreg("--version").out == f"imgreg {__version__}\n"


def test_the_recorded_command_repeats_the_run_and_prints_a_summary(trained: Trained, tmp_path: Path) -> None:
    """environment.json's command, run again in another folder, gives the same head. Without --json a person reads a
    summary that fits 80 columns, the report's path and a command to go on with, in which the photos are where they
    are: each on a line, to be copied."""
    command = shlex.split(json.loads((trained.folder / "environment.json").read_text())["command"])
    assert command[:2] == ["imgreg", "train"]
    command[command.index("--models") + 1] = str(tmp_path)
    command.remove("--json")
    done = imgreg(*command[1:])
    assert done.code == 0, done.err
    assert (tmp_path / "first" / "head.safetensors").read_bytes() == (trained.folder / "head.safetensors").read_bytes()
    *box, report, following = done.out.splitlines()
    assert report == f"Report: {tmp_path / 'first' / 'report.html'}"
    assert shlex.split(following)[:2] == ["Next:", "imgreg"]
    assert shlex.split(following)[2] in COMMANDS
    assert str(trained.data) in shlex.split(following)
    assert max(map(len, box)) <= 80
    assert "\x1b" not in done.out + done.err


def test_compare_trains_both_on_the_same_split(compared: tuple[Path, dict], trained: Trained) -> None:
    """plain and regularized see the same split and features; the table and figures are written."""
    models, document = compared
    plain, regularized = document["runs"]
    assert (plain["recipe"], regularized["recipe"]) == ("plain", "regularized")
    assert (plain["n_views"], regularized["n_views"]) == (0, 2)
    assert plain["features"]["n_computed"] == regularized["features"]["n_computed"] == 0  # the trained run computed all
    assert (models / "both-plain" / "split.csv").read_bytes() == (
        models / "both-regularized" / "split.csv"
    ).read_bytes()
    assert [line for line in document["warnings"] if "suspected" not in line] == []  # painted photos are alike
    assert {row["recipe"] for row in document["table"]} == {"plain", "regularized"}
    row = document["table"][1]
    assert row["gap_last"] == pytest.approx(regularized["last"]["val_loss"] - regularized["last"]["train_loss"])
    assert {path.name for path in (models / "both").iterdir()} == {
        *("table.csv", "comparison.json", "report.html", "pictures"),
        *(f"{stem}{suffix}" for stem in ("overlay", "panels", "forest", "validation") for suffix in (".png", ".svg")),
    }
    assert naming(models, models, trained.data.parent) == []  # what is shared names no folder
    for name in ("overlay.png", "panels.png"):
        with Image.open(models / "both" / name) as image:
            assert image.width >= 900


def test_compare_gives_ranges_to_those_that_augment(trained: Trained, tmp_path: Path) -> None:
    """A range set for both recipes reaches regularized, and plain goes without."""
    narrow = ("--set", "augmentation.zoom_range=0.1", "--image-size", "32", "--epochs", "2")
    narrow = (*narrow, "--sanity-baselines", "none")
    done = imgreg("compare", trained.data, *TRAIN_ARGUMENTS, *narrow, "--models", tmp_path, "--json")
    assert done.code == 0, done.err
    assert [run["n_views"] for run in done.json["runs"]] == [0, 2]
    regularized = Path(done.json["runs"][1]["run"])
    assert json.loads((regularized / "augmentation.json").read_text())["zoom_range"] == 0.1


def test_compare_runs_gives_the_same_table(compared: tuple[Path, dict], tmp_path: Path) -> None:
    """Finished runs, compared from their folders, give the table that training them gave."""
    models, document = compared
    done = imgreg("compare", models / "both-plain", models / "both-regularized", "--models", tmp_path, "--json")
    assert done.code == 0, done.err
    assert done.json["table"] == document["table"]


def test_a_comparison_has_its_baselines_once(compared: tuple[Path, dict], tmp_path: Path) -> None:
    """They are the same for every run of a split; each run has its own difference; the answer says whom they beat."""
    models, document = compared
    flattened, means = document["baselines"]
    assert "loss_difference" not in means
    for run in document["runs"]:
        assert [one["loss"] for one in run["baselines"]] == [flattened["loss"], means["loss"]]
        mean = run["baselines"][1]["loss_difference"]["mean"]
        assert mean == pytest.approx(run["kept"]["val_loss"] - means["loss"], abs=1e-6)
    assert document["against_baselines"].startswith("Logistic regression on the")
    assert document["against_baselines"] in (models / "both" / "report.html").read_text(encoding="utf-8")
    again = imgreg("compare", models / "both-plain", models / "both-regularized", "--models", tmp_path)
    assert document["against_baselines"] in " ".join(again.out.split())


def test_compare_runs_on_different_photos_says_so(compared: tuple[Path, dict], tmp_path: Path) -> None:
    """Runs that do not share their split are compared with a warning; train -q leaves stdout empty."""
    models, _ = compared
    other = paint_set(tmp_path / "other", n_each=6, seed=500)
    quiet = imgreg("train", other, *TRAIN_ARGUMENTS, "--name", "other", "--models", tmp_path / "m", "-q")
    assert (quiet.code, quiet.out) == (0, ""), quiet.err
    done = imgreg("compare", models / "both-plain", tmp_path / "m" / "other", "--models", tmp_path / "m", "--json")
    assert done.code == 0
    assert any("not trained on the same photos" in line for line in done.json["warnings"])
    assert "not trained on the same photos" in done.err
    assert (done.json["baselines"], done.json["against_baselines"]) == ([], "")


def test_reports_ask_nothing_of_the_network(compared: tuple[Path, dict]) -> None:
    """No element of the reports refers to an address outside the file."""
    models, _ = compared

    class Links(HTMLParser):
        found: list[str]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [
                f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "srcset") and value
            ]

    for folder in ("both", "both-plain", "both-regularized"):
        parser = Links()
        parser.found = []
        parser.feed((models / folder / "report.html").read_text(encoding="utf-8"))
        outside = [one for one in parser.found if not one.split("=", 1)[1].startswith(("data:", "#", "../", "./"))]
        assert not outside


def test_predict_text_json_and_csv_agree(trained: Trained) -> None:
    """The three outputs name the same labels in the same order."""
    photos = sorted((trained.data / "warm").iterdir())[:3]
    text = imgreg("predict", *photos, "--run", trained.folder).out.splitlines()
    documents = [
        json.loads(line) for line in imgreg("predict", *photos, "--run", trained.folder, "--json").out.splitlines()
    ]
    rows = list(csv.DictReader(imgreg("predict", *photos, "--run", trained.folder, "--csv").out.splitlines()))
    labels = [document["label"] for document in documents]
    assert [line.split()[0] for line in text] == [row["label"] for row in rows] == labels
    for document, row in zip(documents, rows, strict=True):
        assert float(row["warm"]) == pytest.approx(document["probabilities"]["warm"], abs=1e-6)
        assert document["probability"] == max(document["probabilities"].values())
        assert sum(document["probabilities"].values()) == pytest.approx(1, abs=1e-5)


def test_a_run_is_named_alike_everywhere(trained: Trained, tmp_path: Path) -> None:
    """By its name under models, its path, as an argument or by --run, or as the last one: the same answers."""
    photo = next((trained.data / "warm").iterdir())
    models = ("--models", trained.folder.parent, "--json")
    named = ("first", "last", trained.folder)
    few = one_of_each(trained, tmp_path / "few")
    for words in (("predict", photo), ("evaluate", few), ("verify", "--files-only"), ("report",)):
        names = ("last",) if words[0] == "report" else named  # each report is drawn again
        answers = [imgreg(*words, *run, *models) for run in [(), *(("--run", one) for one in names)]]
        if words[0] != "predict":
            answers.append(imgreg(words[0], "first", *words[1:], *models))
        assert {done.code for done in answers} == {0}, answers[-1].err
        assert len({done.out for done in answers}) == 1


def test_a_bad_photo_does_not_stop_the_others(trained: Trained) -> None:
    """Order is kept, the bad ones carry their reason, and the exit code is 3."""
    good = sorted((trained.data / "warm").iterdir())[:2]
    paths = [
        trained.data / "cold" / "broken.jpg",
        good[0],
        trained.data / "none.jpg",
        good[1],
        trained.data / "cold" / "broken.jpg",
    ]
    done = imgreg("predict", *paths, "--run", trained.folder, "--json")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 3
    assert [answer["path"] for answer in answers] == list(map(str, paths))
    assert ["error" in answer for answer in answers] == [True, False, True, False, True]
    assert "No such file" in answers[2]["error"]


def test_predict_shows_every_share_and_obeys_no_name(trained: Trained, tmp_path: Path) -> None:
    """A text line has all class probabilities, and a name's escape codes are shown, not obeyed."""
    odd = tmp_path / "a\x1b[31m\nb.jpg"
    odd.write_bytes(next((trained.data / "warm").iterdir()).read_bytes())
    done = imgreg("predict", odd, "--run", trained.folder)
    (line,) = done.out.splitlines()
    assert "\x1b" not in line
    assert "cold " in line
    assert "warm " in line


def test_preview_as_json(trained: Trained, tmp_path: Path) -> None:
    """One document on stdout says what was written where."""
    sheet = imgreg("preview", trained.data, "--out", tmp_path / "s.png", "--count", "1", "--views", "1", "--json").json
    assert Path(sheet["preview"]).is_file()


def test_predict_reads_paths_from_stdin(trained: Trained) -> None:
    """`-` takes one path a line, whatever bytes it has."""
    photos = sorted((trained.data / "warm").iterdir())[:2]
    stdin = b"\n".join(os.fsencode(path) for path in photos) + b"\n"
    done = imgreg("predict", "-", "--run", trained.folder, "--csv", stdin=stdin)
    assert [row["path"] for row in csv.DictReader(done.out.splitlines())] == list(map(str, photos))


def test_predict_of_a_reader_that_leaves(trained: Trained) -> None:
    """`imgreg predict ... | head -1` is no error."""
    words = [sys.executable, "-m", "imgreg", "predict", trained.data / "warm", "--run", trained.folder, "--json"]
    line = shlex.join(map(str, words))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line} | head -1"], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["label"]


def test_preview_shows_both_backends(trained: Trained, tmp_path: Path) -> None:
    """The sheet has a row for each photo and backend."""
    done = imgreg("preview", trained.data, "--out", tmp_path / "sheet.png", "--count", "2", "--views", "3")
    assert (done.code, done.out) == (0, f"{tmp_path / 'sheet.png'}\n")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.height > 4 * 128
        assert sheet.width > 4 * 128


def test_everything_made_is_listed(compared: tuple[Path, dict], trained: Trained, tmp_path: Path) -> None:
    """Runs with the documents that training printed, oldest first, and the comparison after them; each with its photos'
    name and, of a run, its losses; --sort orders runs, and what has no figures comes last."""
    models, document = compared
    made = imgreg("runs", "--models", models, "--json").json
    assert [one["name"] for one in made] == ["both-plain", "both-regularized", "both"]
    plain, regularized, comparison = made
    assert {name: plain[name] for name in document["runs"][0]} == document["runs"][0]
    assert min(regularized["val_losses"]) == regularized["best"]["val_loss"]
    assert (comparison["kind"], comparison["recipe"]) == ("comparison", "plain, regularized")
    assert {one["dataset"] for one in made} == {trained.data.name}
    order = [one["name"] for one in imgreg("runs", "--models", models, "--sort", "accuracy", "--json").json]
    runs = sorted([plain, regularized], key=lambda run: (-run["best"]["val_accuracy"], run["created"]))
    assert order == [*(run["name"] for run in runs), "both"]
    text = imgreg("runs", "--models", models).out
    assert "comparison" in text
    assert "· data · regul" in text
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.json").write_text("{}")
    done = imgreg("runs", "--models", tmp_path)
    assert (done.code, f"{tmp_path / 'broken'}: cannot be read" in done.err) == (0, True)


def test_a_shown_recipe_ends_with_its_layers_and_notes() -> None:
    """The layers at the given image size and the note on max_norm beside l2 are there as comments, and in the JSON."""
    text = imgreg("recipes", "activity", "--image-size", "128").out
    assert "#   hidden_1       Dense                 64               524,352\n" in text
    assert "# Note: max_norm = 2 and l2 = 0.01 both limit" in text
    document = imgreg("recipes", "activity", "--json").json
    assert [row["output_shape"] for row in document["layers"]] == [[25088], [64], [64], [2], [2]]
    assert len(document["notes"]) == 1


def test_a_shown_recipe_can_be_trained(trained: Trained, tmp_path: Path) -> None:
    """`imgreg recipes plain > mine.toml`, changed, is a recipe."""
    text = imgreg("recipes", "plain").out
    (tmp_path / "mine.toml").write_text(
        text.replace('name = "plain"', 'name = "mine"').replace("epochs = 100", "epochs = 2")
    )
    small = ("--weights", "starter", "--image-size", "64", "--folds", "0", "--models", tmp_path / "m")
    done = imgreg("train", trained.data, "--recipe", tmp_path / "mine.toml", *small, "--json")
    assert (done.json["recipe"], done.json["epochs_run"]) == ("mine", 2)
