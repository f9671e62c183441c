"""Folders below the roots are used, others never: what is checked and trained on was named at the start."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from conftest import imgreg, needs_chromium, paint_set
from imgreg.errors import UsageError
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
    """Folders of class folders are listed; a path that climbs out, also by a link, or another root's number is refused."""
    assert list(listed_folders([photos])) == ["0/album/pets", "0/clean"]
    assert find_folder("0/album/pets", roots=[photos]) == (photos / "album" / "pets").resolve()
    (photos / "out").symlink_to(tmp_path)
    for name in ("0/..", "0/out", "1/album", "album", "0//etc", ""):
        with pytest.raises(UsageError, match="no folder"):
            find_folder(name, roots=[photos])
    (photos / "out").unlink()


@needs_chromium
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


@needs_chromium
def test_a_training_is_watched_stopped_and_resumed(browser, rooted, photos) -> None:
    """Its curves are drawn as it goes; stopped, it goes on when asked, and ends as a run whose report opens. Meanwhile
    no second one starts."""
    with opened(browser, rooted, "/train") as page:
        page.select_option("[name=folder]", "0/clean")
        page.select_option("[name=weights]", "starter")
        for name, value in (("epochs", "400"), ("image_size", "64"), ("folds", "0"), ("name", "live")):
            page.fill(f"[name={name}]", value)
        page.locator("#start button").press("Enter")
        page.wait_for_url("**/train/*")
        page.locator("#loss polyline").nth(1).wait_for(timeout=60_000)
        place = page.url.removeprefix(rooted.address)
        page.locator("#stop").press("Enter")
        page.locator("#status", has_text="stopped after").wait_for(timeout=30_000)
        stopped = rooted.ask("GET", f"{place}/state").json
        assert 0 < len(stopped["val_loss"]) < 400
        page.locator("#resume").press("Enter")
        deadline = time.monotonic() + 60
        while len(rooted.ask("GET", f"{place}/state").json["val_loss"]) <= len(stopped["val_loss"]):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        busy = {"folder": "0/clean", "weights": "starter"}
        query = "&".join(f"{name}={value}" for name, value in busy.items())
        assert page.evaluate(f"fetch('/train/state?{query}').then(answer => answer.status)") == 404
