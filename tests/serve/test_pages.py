"""The pages as a browser has them: what they show is what the commands answer, and nothing else is asked of anybody."""

from __future__ import annotations

import base64
import csv
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from conftest import NEEDS_CHROMIUM, imgreg
from imgreg.data.discovery import list_files
from imgreg.serve.guard import Access
from serve.conftest import serving

pytestmark = NEEDS_CHROMIUM


@contextmanager
def opened(browser, served, path: str = "/", *, width: int = 1280, scheme: str = "light"):
    """A page; at the end nothing was asked of another server, nothing forbidden was tried, and no script failed."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True)
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(served.address + path)
    yield page
    assert [url for url in asked if not url.startswith((served.address, "blob:"))] == []
    assert wrong == []
    page.close()


def drop(page, photos) -> None:
    """Drop files on the page, as from a file manager."""
    files = [[photo.name, base64.b64encode(photo.read_bytes()).decode()] for photo in photos]
    carried = page.evaluate_handle(
        """files => {
          const carried = new DataTransfer();
          for (const [name, text] of files) {
            carried.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name));
          }
          return carried;
        }""",
        files,
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": carried})


def test_dropped_photos_are_answered_as_predict_answers(browser, served, trained, tmp_path) -> None:
    """The class and probability shown are those of the command, and the CSV file has its figures; a heatmap is laid
    over the photo at a click, and taken away at the next."""
    photos = sorted((trained.data / "cold").glob("c*.jpg"))[:2]
    with opened(browser, served) as page:
        drop(page, photos)
        page.locator(".answers .class").nth(1).wait_for()
        for photo in photos:
            told = imgreg("predict", photo, "--run", trained.folder, "--json").json
            shown = page.locator("#cards > li", has_text=photo.name).locator(".class span").all_inner_texts()
            assert shown == [told["label"], f"{told['probability']:.1%}"]
        assert page.locator("#status").inner_text() == "2 of 2 answered"
        with page.expect_download() as download:
            page.locator("#csv").click()
        download.value.save_as(tmp_path / "predictions.csv")
        rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
        assert [(row["path"], row["label"]) for row in rows][-1] == (photos[1].name, told["label"])
        assert rows[-1]["probability"] == f"{told['probability']:.6f}"
        heat = page.get_by_role("button", name="Heatmap").first
        heat.press("Enter")
        page.locator(".map").wait_for()
        page.locator(".heat-note", has_text="heads with random weights").wait_for()
        heat.press("Enter")
        page.locator(".map").wait_for(state="detached")
        page.locator("#clear").click()
        assert page.locator("#cards > li").count() == 0


def test_a_folder_is_dropped_whole(browser, served, trained, tmp_path) -> None:
    """Its photos, also those of folders within, are answered in the order of their names; other files are counted. The
    server draws what the browser cannot."""
    folder = tmp_path / "album"
    (folder / "old").mkdir(parents=True)
    (folder / "notes.txt").write_text("no photo")
    for number, target in ((2, "old/p10.jpg"), (1, "old/p9.jpg"), (0, "a.jpg")):
        shutil.copy(trained.data / "warm" / f"w0{number}.jpg", folder / target)
    with Image.open(folder / "a.jpg") as photo:
        photo.save(folder / "scan.tif")
    with opened(browser, served) as page:
        page.locator("#drop").scroll_into_view_if_needed()
        place = page.locator("#drop").bounding_box()
        carried = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
        devtools = page.context.new_cdp_session(page)
        for kind in ("dragEnter", "drop"):
            devtools.send(
                "Input.dispatchDragEvent", {"type": kind, "x": place["x"] + 9, "y": place["y"] + 9, "data": carried}
            )
        page.locator("#status", has_text="4 of 4 answered. 1 file of other kinds left out").wait_for(timeout=60_000)
        names = page.locator("#cards small").all_inner_texts()
        assert names == [f"album/{name}" for name in ("a.jpg", "old/p9.jpg", "old/p10.jpg", "scan.tif")]
        page.locator("#cards > li", has_text="scan.tif").scroll_into_view_if_needed()
        page.locator("img[alt='album/scan.tif'][src^='blob:']").wait_for()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("[...document.images].map(image => image.naturalWidth > 0)") == [True] * 4
        page.set_input_files("#folder", folder)
        page.locator("#status", has_text="8 of 8 answered. 1 file of other kinds left out").wait_for(timeout=60_000)


def test_a_pasted_photo_is_answered(browser, served, trained) -> None:
    """As from a screenshot; pasted text changes nothing."""
    data = base64.b64encode((trained.data / "warm" / "w00.jpg").read_bytes()).decode()
    with opened(browser, served) as page:
        page.evaluate(
            """text => {
              for (const item of ["text", new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], "image.png")]) {
                const carried = new DataTransfer();
                if (item === "text") carried.setData("text/plain", "words");
                else carried.items.add(item);
                document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: carried }));
              }
            }""",
            data,
        )
        page.locator("#status", has_text="1 of 1 answered").wait_for()


def test_a_photo_that_cannot_be_read_says_so_beside_the_others(browser, served, trained) -> None:
    """Its card shows the reason."""
    page = browser.new_page()
    page.goto(served.address)
    page.set_input_files("#pick", [trained.data / "cold" / "broken.jpg", trained.data / "cold" / "c00.jpg"])
    page.locator(".answers .class").wait_for()
    assert "not a photo" in page.locator("#cards > li", has_text="broken.jpg").locator(".error").inner_text()
    assert page.locator("#status").inner_text() == "2 of 2 answered; 1 could not be read"
    page.close()


def test_runs_are_sorted_filtered_and_compared_on_the_same_axes(browser, served, models, trained) -> None:
    """The list has the figures of `imgreg runs`; two chosen runs share their axes, and arrows read the values of
    history.csv there; a report opens without its scripts reaching this server."""
    with opened(browser, served, "/runs") as page:
        names = page.locator("#entries a")
        assert names.all_inner_texts() == ["second", "doubtful", "first"]
        page.select_option("#sort", "name")
        assert names.all_inner_texts() == ["doubtful", "first", "second"]
        page.fill("#filter", "seco")
        assert [one.inner_text() for one in names.all() if one.is_visible()] == ["second"]
        page.fill("#filter", "")
        told = {one["name"]: one for one in imgreg("runs", "--models", models, "--json").json}
        first = page.locator("#entries > li", has_text="first")
        assert first.locator("dd").first.inner_text() == f"{told['first']['kept']['val_loss']:.3f}"
        assert page.locator("#go").is_disabled()
        for box in page.locator("[name=run]").all():
            box.press("Space")
        page.locator("#go").press("Enter")
        page.wait_for_url("**/runs/compare?*")
        loss = page.locator("#loss")
        assert loss.locator("polyline").count() == 4
        loss.press("Home")
        epoch = next(csv.DictReader((trained.folder / "history.csv").open()))
        assert f"first validation {float(epoch['val_loss']):.3f}" in loss.locator(".hover-text").inner_text()
    report = served.ask("GET", "/runs/first/report.html")
    assert report.body == (trained.folder / "report.html").read_bytes()
    assert report.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert served.ask("GET", "/runs/..%2Fdata/report.html").status == 404


def test_labels_are_decided_by_keys_and_saved_as_a_manifest(browser, served, models, trained) -> None:
    """The most doubtful first, with their photos; what was decided stands in fixes.csv beside the label check, which
    train reads as the corrected dataset, and is shown again when the page is opened the next time."""
    with opened(browser, served, "/labels") as page:
        page.get_by_role("link", name="doubtful").press("Enter")
        page.locator(".cards li.current").wait_for()
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        for key in "fdk":
            page.keyboard.press(key)
        with page.expect_response("**/decisions"):
            page.keyboard.press("s")
        page.locator("#progress", has_text="Saved 3 decisions").wait_for()
        page.reload()
        assert page.locator("#progress").inner_text() == "3 of 3 reviewed"
    found = {Path(one.where).name: one.label for one in list_files(models / "doubtful" / "fixes.csv")}
    n_photos = len([*trained.data.glob("*/*.jpg")]) - 1  # without the broken one
    assert (len(found), found["c00.jpg"], found["c02.jpg"], "c01.jpg" in found) == (n_photos - 1, "warm", "cold", False)


def test_only_decisions_on_known_photos_are_saved(served) -> None:
    """A hash that is not in the check, another word, a name that leads elsewhere: each is refused."""
    photo = "0" * 64
    for body, status, says in ((f'{{"{photo}": "keep"}}', 400, "no photo"), ("[]", 400, "expected photos")):
        answer = served.ask("POST", "/labels/doubtful/decisions", body)
        assert (answer.status, says in answer.json["error"]) == (status, True)
    assert served.ask("GET", f"/labels/doubtful/{photo}.jpg").status == 404
    assert served.ask("GET", "/labels/doubtful/..%2Fsheet.jpg").status == 404
    assert served.ask("GET", "/labels/first").status == 404


def test_the_address_with_the_token_opens_the_page(browser, models) -> None:
    """The token is sent once and then kept out of reach of scripts; pages, pictures and answers need no more."""
    with serving(models, access=Access("secret", beyond_loopback=True)) as served:
        page = browser.new_page()
        page.goto(served.address)
        page.fill("#token", "wrong")
        page.locator("#token").press("Enter")
        page.locator("#status", has_text="not the token").wait_for()
        page.goto(f"{served.address}/#secret")
        page.locator("h1", has_text="Classify photos").wait_for()
        assert page.evaluate("document.cookie") == ""
        page.goto(f"{served.address}/labels/doubtful")
        assert page.evaluate("document.images[0].naturalWidth") > 0
        page.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_pages_fit_a_phone_and_a_desk(browser, served, width, scheme) -> None:
    """No page is wider than the window, and each control that Tab comes to shows the focus."""
    for path in ("/", "/runs", "/runs/compare?run=first&run=second", "/labels/doubtful", "/check", "/train"):
        with opened(browser, served, path, width=width, scheme=scheme) as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            for _ in range(4):
                page.keyboard.press("Tab")
            outlined = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outlined != "none" or page.evaluate("document.activeElement.type") == "file"
