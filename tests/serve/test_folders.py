"""Folders below the roots are used, others never: what is checked and trained on was named at the start."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import time
from pathlib import Path

import pytest

from conftest import NEEDS_CHROMIUM, imgreg, paint_set
from imgreg.api.verify import recorded_settings
from imgreg.cli.label_issues import command as label_issues
from imgreg.errors import UsageError
from imgreg.progress import Watcher
from imgreg.recipes.settings import RECIPE_OPTIONS, SETTINGS_OPTIONS, build_settings
from imgreg.runs.folder import read_run
from imgreg.serve import train_worker, trainings
from imgreg.serve.folders import find_folder, listed_folders
from serve.conftest import serving
from serve.test_pages import opened


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A root with a dataset in it that has a file twice, under both classes, and one that is no photo."""
    root = tmp_path_factory.mktemp("root")
    data = paint_set(root / "album" / "pets", n_each=8, seed=500)
    (data / "warm" / "copy.jpg").write_bytes((data / "cold" / "c00.jpg").read_bytes())
    (data / "warm" / "bad.jpg").write_bytes(b"no photo")
    paint_set(root / "clean", n_each=12, seed=600)
    return root


@pytest.fixture(scope="module")
def rooted(photos, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("trained-here") / "models", roots=[photos]) as address:
        yield address


def test_only_folders_below_a_root_are_found(photos, tmp_path) -> None:
    """Folders of class folders are listed; one that climbs out, also by a link, or of no root is refused."""
    assert list(listed_folders([photos])) == ["0/album/pets", "0/clean"]
    assert find_folder("0/album/pets", roots=[photos]) == (photos / "album" / "pets").resolve()
    (photos / "out").symlink_to(tmp_path)
    for name in ("0/..", "0/out", "1/album", "album", "0//etc", ""):
        with pytest.raises(UsageError, match="no folder"):
            find_folder(name, roots=[photos])
    (photos / "out").unlink()


@NEEDS_CHROMIUM
def test_a_check_shows_what_the_command_finds_with_the_photos(browser, rooted, photos) -> None:
    """The findings of `imgreg check`, in its order, and a picture of each readable file; others are named."""
    told = imgreg("check", photos / "album" / "pets", "--weights", "starter", "--json").json["findings"]
    with opened(browser, rooted, "/check") as page:
        page.select_option("[name=folder]", "0/album/pets")
        page.locator("#start button").press("Enter")
        page.locator("section .label").first.wait_for(timeout=60_000)
        codes = [text.lower().split(" · ")[1] for text in page.locator("section .label").all_inner_texts()]
        assert codes == [one["code"] for one in told]
        torn = page.locator("section", has=page.locator("#copies-across-classes"))
        assert torn.locator("figcaption").all_inner_texts() == ["cold/c00.jpg", "warm/copy.jpg"]
        torn.locator("img").first.scroll_into_view_if_needed()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("[...document.querySelectorAll('main img')].every(image => image.naturalWidth > 0)")
        assert page.locator("section", has=page.locator("#unsupported")).locator(".gone").count() == 1
        assert rooted.ask("GET", page.url.removeprefix(rooted.address) + f"/{'0' * 64}.jpg").status == 404
    assert rooted.ask("POST", "/check/start?folder=0/..").status == 400


@NEEDS_CHROMIUM
def test_a_training_is_watched_stopped_and_resumed(browser, rooted) -> None:
    """Its curves are drawn as it goes; stopped, it goes on when asked, with them. Meanwhile no second one starts."""
    with opened(browser, rooted, "/train") as page:
        page.select_option("[name=folder]", "0/clean")
        page.select_option("[name=weights]", "starter")
        for name, value in (("epochs", "2000"), ("image_size", "64"), ("folds", "0"), ("name", "live")):
            page.fill(f"[name={name}]", value)
        page.locator("#start button").press("Enter")
        page.locator("#loss polyline").nth(1).wait_for(timeout=180_000)
        place = page.url.removeprefix(rooted.address)
        assert rooted.ask("POST", "/train/start?folder=0/clean").status == 409
        page.locator("#stop").press("Enter")
        page.locator("#status", has_text="stopped after").wait_for(timeout=30_000)
        page.locator("#resume").press("Enter")
        page.locator("#stop").wait_for()
        told = rooted.ask("GET", f"{place}/state").json
        assert (told["state"], 0 < len(told["val_loss"]) < 2000) == ("running", True)
    assert rooted.ask("POST", f"{place}/stop").json["state"] == "stopping"


@pytest.fixture(scope="module")
def labelled(photos, served, models):
    """A server whose roots hold the photos of its runs too."""
    data = read_run(models / "first").data
    with serving(models, roots=[photos, data.parent]) as address:
        yield address


@NEEDS_CHROMIUM
def test_a_label_check_is_started_for_a_run_and_stopped(browser, labelled, models) -> None:
    """Runs whose photos are below a root are offered, with their own settings; a stopped check waits on the page."""
    with opened(browser, labelled, "/labels") as page:
        assert page.locator("optgroup option").all_inner_texts() == ["second", "first"]
        page.select_option("[name=folder]", "run/first")
        page.locator("#start button").press("Enter")
        page.locator("#stop").wait_for()
        page.locator("#stop").press("Enter")
        page.locator("#status", has_text="stopped").wait_for(timeout=60_000)
        assert page.locator("nav [aria-current]").inner_text() == "Labels"
        page.goto(f"{labelled.address}/labels")
        assert page.get_by_role("link", name="first").count() == 1
    for query, status, says in (
        ("folder=run/first&epochs=2", 400, "own settings"),
        ("folder=run/..", 404, "no '..'"),
        ("folder=run/doubtful", 400, "not a run"),
        ("folder=0/clean&repeats=0", 400, "expected 1 to 99"),
        ("folder=0/clean&epochs=0", 400, "epochs"),
    ):
        answer = labelled.ask("POST", f"/labels/start?{query}")
        assert (answer.status, says in answer.json["error"]) == (status, True), answer.body


def test_what_is_checked_is_reviewed_on_the_page(labelled, models, trained, monkeypatch) -> None:
    """The worker checks the photos of a run by the run's settings; what it made is a page to review, which has the
    command that checks them again."""
    monkeypatch.setattr(train_worker, "LABEL_FOLDS", 2)
    asked = {"command": "label-issues", "data": str(trained.data), "models": str(models), "name": "checked-here"}
    asked |= {"recipe": "low_lr", "options": {}, "run": "first", "repeats": 1}
    try:
        assert train_worker.run_command(asked, watcher=Watcher()) == "checked-here"
        answer = labelled.ask("GET", "/labels/checked-here", Accept="text/html")
        assert (answer.status, b"labels to review" in answer.body, b"Reproduce" in answer.body) == (200, True, True)
        words = shlex.split(json.loads((models / "checked-here" / "label_issues.json").read_text())["command"])
        assert words[:2] == ["imgreg", "label-issues"]
        given = label_issues.make_context("label-issues", words[2:]).params
        options = {name: given[name] for name in (*RECIPE_OPTIONS, *SETTINGS_OPTIONS, "overrides")}
        typed, recorded = build_settings(given["recipe"], options), recorded_settings(read_run(models / "first"))
        assert (typed.recipe.rendered(), typed.base, given["repeats"]) == (recorded.recipe.rendered(), recorded.base, 1)
    finally:
        shutil.rmtree(models / "checked-here", ignore_errors=True)


def test_a_process_that_does_not_stop_is_ended(tmp_path, monkeypatch) -> None:
    """As one that hears nothing while it loads a library; what it started is ended with it."""
    deaf = tmp_path / "python"
    deaf.write_text("#!/bin/sh\nsleep 60 &\nexec sleep 60\n")
    deaf.chmod(0o755)
    monkeypatch.setattr(trainings.sys, "executable", str(deaf))
    monkeypatch.setattr(trainings, "SECONDS_TO_STOP", 0.1)
    training = trainings.Training({})
    training.start()
    training.stop()
    assert training.process.wait(20) == -signal.SIGKILL
    for _ in range(200):
        if training.state == "stopped":
            break
        time.sleep(0.05)
    assert training.state == "stopped"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("folder=0/..", "no folder"),
        ("folder=0/clean&recipe=../x.toml", "unknown"),
        ("folder=0/clean&weights=/etc/passwd", "expected one of"),
        ("folder=0/clean&epochs=-1", "whole number"),
        ("folder=0/clean&epochs=0", "epochs"),
        ("folder=0/clean&name=../x", "not a valid run name"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_it_starts(rooted, query, says) -> None:
    """Folders, recipes and weights that are not offered, numbers out of range."""
    answer = rooted.ask("POST", f"/train/start?{query}")
    assert answer.status == 400
    assert says in answer.json["error"]
