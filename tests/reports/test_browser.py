"""The page as a browser has it: nothing is asked of any network, values at the pointer and at the keys, nothing cut."""

from __future__ import annotations

import io
import re
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import NEEDS_CHROMIUM
from imgreg.analysis.label_issues import LabelRow
from imgreg.analysis.results import Findings, comparison_of
from imgreg.data.discovery import list_files
from imgreg.reports.comparison import comparison_report
from imgreg.reports.label_issues import label_issues_report
from imgreg.reports.pictures import jpeg
from imgreg.reports.run import run_report

pytestmark = NEEDS_CHROMIUM
EVIL = "<img src=x onerror=document.title='owned'>"
HANGUL = ("개미", "꿀벌")


@pytest.fixture(scope="module")
def pages(tmp_path_factory, make_run, overfitting, healthy):
    """A run's report with pictures and odd names, and a comparison's."""
    own = np.linspace(0.3, 0.9, 100)[:, None] * np.ones((1, 318), np.float32)
    history = replace(overfitting, train_true_class=own.astype(np.float32))
    run = make_run(history, classes=HANGUL, name=EVIL, warnings=(EVIL, "가" * 300), command=f"imgreg train {EVIL}")
    grey = jpeg(np.full((60, 90, 3), 128, np.uint8))
    pictures = {row.sha256: grey for row in run.split}
    one = tmp_path_factory.mktemp("one")
    run_report(run, folder=one, pictures=pictures, maps=pictures)
    runs = [run, make_run(healthy, classes=HANGUL, name="b" * 300)]
    many = tmp_path_factory.mktemp("many")
    comparison = replace(comparison_of(runs, folder=many), warnings=(EVIL,))
    comparison_report(comparison, runs=runs, pictures={row.path: grey for row in run.split}, folder=many)
    return {"run": one / "report.html", "comparison": many / "report.html"}


def opened(browser, path, *, width: int = 1280, **options):
    """The page in a window of its own; what it asks for, and what went wrong, are noted."""
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.goto(path.as_uri())
    return page, asked, wrong


@pytest.mark.parametrize("name", ["run", "comparison"])
def test_nothing_is_asked_for_and_no_name_is_run(browser, pages, name) -> None:
    """Opening the page asks for the file alone, data addresses apart; no script of a name runs, none of ours fails."""
    page, asked, wrong = opened(browser, pages[name])
    page.wait_for_timeout(200)
    assert [url for url in asked if not url.startswith("data:")] == [pages[name].as_uri()]
    assert wrong == []
    assert page.title() != "owned"
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    page.close()


def test_a_command_is_copied(browser, pages) -> None:
    """Whole, by the button that stands on it."""
    page, _, wrong = opened(browser, pages["run"], permissions=["clipboard-read", "clipboard-write"])
    page.locator(".copy").last.click()
    page.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("pre code").last.text_content()
    assert copied.startswith("imgreg train ")
    assert wrong == []
    page.close()


def test_the_policy_forbids_requests(browser, pages) -> None:
    """A picture from elsewhere, were it ever in the page, would not be fetched: a server of this test hears nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x.png"
        page, _, wrong = opened(browser, pages["run"])
        page.evaluate("url => document.body.append(Object.assign(new Image(), {src: url}))", address)
        with pytest.raises(TimeoutError):
            server.accept()
        assert any("Content Security Policy" in line for line in wrong)
        page.close()


def test_the_pointer_shows_the_values_of_the_epoch_beneath_it(browser, pages, overfitting) -> None:
    """At the left end epoch 1's losses, at the right end the last's; away from the figure neither."""
    page, _, _ = opened(browser, pages["run"])
    plot = page.locator("[data-hover]").first
    plot.scroll_into_view_if_needed()
    text, box = plot.locator(".hover-text"), plot.locator(".plot").bounding_box()
    idle = text.inner_text()
    for share, epoch in ((0.02, overfitting.epochs[0]), (0.98, overfitting.last)):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        expected = f"Epoch {epoch.epoch}: train {epoch.train_loss:.3f}, validation {epoch.val_loss:.3f}, learning rate"
        assert text.inner_text().startswith(expected)
        assert plot.locator(".hover-line").is_visible()
    page.mouse.move(2, 2)
    assert text.inner_text() == idle
    assert not plot.locator(".hover-line").is_visible()
    page.close()


def test_the_line_stands_at_the_epoch(browser, pages, overfitting) -> None:
    """The mark of epoch 50 stands halfway between those of epochs 1 and 99, inside the axes."""
    page, _, _ = opened(browser, pages["run"])
    plot = page.locator("[data-hover]").first
    plot.focus()
    places = {}
    page.keyboard.press("Home")
    for epoch in range(1, 100):
        if epoch in (1, 50, 99):
            assert plot.locator(".hover-text").inner_text().startswith(f"Epoch {epoch}:")
            places[epoch] = plot.locator(".hover-line").bounding_box()["x"]
        page.keyboard.press("ArrowRight")
    assert places[50] == pytest.approx((places[1] + places[99]) / 2, abs=1.5)
    box = plot.locator(".plot").bounding_box()
    assert box["x"] < places[1] < places[99] < box["x"] + box["width"]
    page.close()


def test_the_keyboard_reaches_every_control(browser, pages) -> None:
    """Tab comes to every link, button, figure, scrolling table and summary; each shows that it has the focus, and
    arrows show values there."""
    page, _, _ = opened(browser, pages["run"])
    controls = "a[href], [tabindex='0'], summary, main > :not(dialog) button"
    n_controls = page.locator(controls).count()
    reached = set()
    for _ in range(n_controls + 2):
        page.keyboard.press("Tab")
        place = page.evaluate(f'[...document.querySelectorAll("{controls}")].indexOf(document.activeElement)')
        if place >= 0:
            reached.add(place)
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        if page.evaluate("document.activeElement.dataset.hover !== undefined"):
            page.keyboard.press("End")
            assert page.locator(":focus .hover-line").is_visible()
    assert reached == set(range(n_controls))
    assert page.locator("[data-hover]").count() == 2 + 3
    page.close()


def test_a_photo_is_enlarged_and_arrows_go_on(browser, pages) -> None:
    """A click opens a photo large with its heatmap on or off, arrows go to the next and round, Escape closes it."""
    page, _, wrong = opened(browser, pages["run"])
    dialog, first = page.locator("#zoom"), page.locator("#mistake-1 .open")
    assert not dialog.is_visible()
    first.click()
    assert dialog.is_visible()
    paths = [dialog.locator("span").inner_text()]
    assert "Photo" in dialog.locator("img").get_attribute("alt")
    page.keyboard.press("h")
    assert "Grad-CAM" in dialog.locator("img").get_attribute("alt")
    assert page.locator("[data-heat]").get_attribute("aria-pressed") == "true"
    for key in ("ArrowRight", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
        paths.append(dialog.locator("span").inner_text())
    assert paths[0] == paths[2]
    assert len(set(paths)) == 3
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.locator("#mistake-1 .map").is_visible()
    assert wrong == []
    page.close()


def test_a_cell_of_the_confusion_matrix_filters_the_photos(browser, pages) -> None:
    """Only the photos of the cell that was clicked are left, and all are back after a second click."""
    page, _, _ = opened(browser, pages["run"])
    shown = page.locator("[data-cell]:visible")
    n_photos = shown.count()
    cell = page.locator("[data-filter]").first
    wanted = cell.get_attribute("data-filter")
    cell.click()
    assert {one.get_attribute("data-cell") for one in shown.all()} == {wanted}
    assert 0 < shown.count() < n_photos
    cell.click()
    assert shown.count() == n_photos
    page.close()


def test_photos_stand_three_in_a_row_and_one_on_a_phone(browser, pages) -> None:
    """At 320 px or more each on a desk, as wide as the page on a phone."""
    for width, n_columns in ((1280, 3), (390, 1)):
        page, _, _ = opened(browser, pages["run"], width=width)
        boxes = [one.bounding_box() for one in page.locator("[id^=mistake-]").all()]
        assert sum(box["y"] == boxes[0]["y"] for box in boxes) == n_columns
        assert min(box["width"] for box in boxes) >= 320
        page.close()


def test_labels_are_reviewed_with_keys_and_saved_as_a_manifest(browser, tmp_path) -> None:
    """Keep, relabel, drop and undo by keys; the file that is saved is read by train as the corrected dataset, with odd
    names and the given splits."""
    labels = ["가", "b,c", "b,c", "가"]
    names = ['a "1".jpg', "개미.jpg", "c,d.jpg", "e.jpg"]
    rows = [
        LabelRow(
            photo=photo,
            label=labels[photo],
            other={"가": "b,c", "b,c": "가"}[labels[photo]],
            own=0.1,
            others=0.9,
            own_when_trained=None,
            memorization=None,
            forgotten=0,
            word="doubtful",
            history="learned",
        )
        for photo in (2, 0, 1)
    ]
    label_issues_report(
        rows,
        manifest=[(name, label, "train") for name, label in zip(names, labels, strict=True)],
        pictures={2: jpeg(np.full((60, 90, 3), 128, np.uint8))},
        findings=Findings(("Three labels are doubtful.",), (), "imgreg label-issues photos"),
        data="photos",
        target=tmp_path / "report.html",
    )
    page, asked, wrong = opened(browser, tmp_path / "report.html", width=390)
    for key, told in (("f", "1 of 3"), ("d", "2 of 3"), ("k", "3 of 3"), ("u", "2 of 3"), ("u", "1 of 3")):
        page.keyboard.press(key)
        assert page.locator("#progress").inner_text() == f"{told} reviewed"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("d")
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "fixes.csv"
    download.value.save_as(tmp_path / "fixes.csv")
    found = [(Path(one.where).name, one.label, one.split) for one in list_files(tmp_path / "fixes.csv")]
    assert found == [(names[0], "가", "train"), (names[2], "가", "train"), (names[3], "가", "train")]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert [url for url in asked if not url.startswith(("data:", "file:", "blob:"))] == wrong == []
    page.close()


@pytest.mark.parametrize("name", ["run", "comparison"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_or_overlaps(browser, pages, name, width, scheme) -> None:
    """At a desk's and a phone's width the page is no wider than the window, words stay in their boxes, and sections do
    not overlap; text has a contrast of 4.5 to 1 or more with its background."""
    page, _, _ = opened(browser, pages[name], width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    overlaps = page.evaluate(
        """() => {
          const parts = [...document.querySelectorAll("main > *, main > section > *")];
          const boxes = parts.map(e => e.getBoundingClientRect()), parents = parts.map(e => e.parentElement);
          const found = [];
          for (let i = 1; i < boxes.length; i++) {
            for (let j = 0; j < i; j++) {
              if (parents[i] === parents[j] && boxes[i].top < boxes[j].bottom - 1 && boxes[i].bottom > boxes[j].top + 1
                  && boxes[i].left < boxes[j].right - 1 && boxes[i].right > boxes[j].left + 1) found.push([i, j]);
            }
          }
          return found;
        }"""
    )
    assert overlaps == []
    contrasts = page.evaluate(
        """() => {
          const light = (c) => {
            const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(Number).map(
              v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const ground = (e) => {
            for (; e; e = e.parentElement) {
              const c = getComputedStyle(e).backgroundColor;
              if (!/, 0\\)$/.test(c)) return c;
            }
            return "rgb(255, 255, 255)";
          };
          const words = [...document.querySelectorAll("main *")].filter(
            e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.offsetParent);
          return Math.min(...words.map(e => {
            const a = light(getComputedStyle(e).color), b = light(ground(e));
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          }));
        }"""
    )
    assert contrasts >= 4.5
    page.close()


@pytest.mark.parametrize("name", ["run", "comparison"])
@pytest.mark.parametrize(("paper", "width_mm"), [("A4", 210), ("Letter", 216)])
def test_a_printed_page_keeps_every_column(browser, pages, name, paper, width_mm, tmp_path) -> None:
    """On paper no table is wider than what is between the margins, and a run takes four pages at most."""
    page, _, _ = opened(browser, pages[name], width=round((width_mm - 2 * 10) * 96 / 25.4))
    page.emulate_media(media="print")
    right = page.evaluate(
        "Math.max(...[...document.querySelectorAll('table')].map(t => t.getBoundingClientRect().right))"
    )
    assert right <= page.evaluate("document.documentElement.clientWidth")
    page.pdf(path=tmp_path / "page.pdf", format=paper)
    n_pages = len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "page.pdf").read_bytes()))
    assert 1 <= n_pages <= 4
    page.close()


def test_a_table_wider_than_a_phone_shows_that_it_scrolls(browser, pages) -> None:
    """Where more of a table lies to the right, its right edge is darker than the paper; scrolled there, no longer."""
    page, _, _ = opened(browser, pages["comparison"], width=390)
    table = page.locator(".scroll").first
    table.scroll_into_view_if_needed()
    assert table.evaluate("e => e.scrollWidth > e.clientWidth + 20")

    def edge() -> int:
        pixels = Image.open(io.BytesIO(table.screenshot())).convert("L")
        return min(pixels.getpixel((pixels.width - 1, y)) for y in range(pixels.height // 4, pixels.height // 3))

    with_more = edge()
    table.evaluate("e => e.scrollLeft = e.scrollWidth")
    assert with_more < 200 < edge()
    page.close()


def test_hangul_breaks_between_words(browser, pages) -> None:
    """A line of Hangul is not broken within a word that fits the next line."""
    page, _, _ = opened(browser, pages["run"])
    first, second, end = page.evaluate(
        """() => {
          const p = document.createElement("p");
          p.textContent = "개미사진 꿀벌사진";
          p.style.width = "max-content";
          document.querySelector("main").append(p);
          p.style.width = 0.8 * p.getBoundingClientRect().width + "px";  // all but the last two syllables fit
          return [0, 5, 8].map(at => {
            const syllable = document.createRange();
            syllable.setStart(p.firstChild, at);
            syllable.setEnd(p.firstChild, at + 1);
            return syllable.getBoundingClientRect().top;
          });
        }"""
    )
    assert first < second == end
    assert page.evaluate("getComputedStyle(document.querySelector('p')).wordBreak") == "keep-all"
    page.close()
