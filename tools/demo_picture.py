"""Make the README's moving picture, docs/demo.webp: a training, its verdict, its worst mistakes, in eight seconds.

    python tools/demo_picture.py

Everything in it is real: `imgreg train` runs on the bundled leaves in a terminal of 80 columns (tmux), whose screen is
kept as it changes and shown faster; the last picture is the run's report in a browser (Chromium, by Playwright).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
COMMAND = "imgreg train datasets/leaves --weights starter --name leaves"
COLUMNS, ROWS = 80, 28
FONT_PX, LINE_PX, MARGIN_PX = 15, 20, 14
TYPED_MS, TRAINED_MS, VERDICT_MS, MISTAKES_MS = 800, 3200, 2000, 2000
N_TRAINED = 20  # pictures of the training
THEME = TerminalTheme(
    (22, 25, 29),
    (226, 226, 222),
    [(22, 25, 29), (230, 96, 96), (120, 200, 120), (220, 190, 100), (110, 160, 240), (200, 130, 210), (90, 190, 200),
     (226, 226, 222)],
)  # fmt: skip
TMUX = ("tmux", "-L", f"imgreg-demo-{os.getpid()}")


def main() -> None:
    """Write docs/demo.webp."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        screens = record(models)
        chosen = [screens[round(i * (len(screens) - 2) / (N_TRAINED - 1))] for i in range(N_TRAINED)]
        mistakes = picture_of_mistakes(models / "leaves" / "report.html")
    words = [f"$ {COMMAND[: round(len(COMMAND) * part / 4)]}" for part in range(5)]
    shown = [
        *((drawn(text), TYPED_MS // len(words)) for text in words),
        *((drawn(text), TRAINED_MS // N_TRAINED) for text in chosen),
        (drawn(screens[-1]), VERDICT_MS),
        (mistakes, MISTAKES_MS),
    ]
    pictures, milliseconds = zip(*shown, strict=True)
    target = ROOT / "docs" / "demo.webp"
    pictures[0].save(
        target, save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0, quality=80, method=6
    )
    print(f"{target}: {target.stat().st_size:,} bytes, {len(pictures)} pictures, {sum(milliseconds) / 1000:.1f} s")


def record(models: Path) -> list[str]:
    """The terminal's screens from the command to its end, with ANSI colours, each that differs from the one before."""
    prepare = f"PS1='$ '; imgreg() {{ {sys.executable} -m imgreg \"$@\" --models {models}; }}; clear"
    tmux("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), "-c", str(ROOT), "bash --norc")
    try:
        tmux("send-keys", prepare, "Enter")
        time.sleep(1)
        tmux("send-keys", COMMAND, "Enter")
        screens: list[str] = []
        while not screens or "report.html" not in screens[-1]:
            time.sleep(0.2)
            screen = tmux("capture-pane", "-e", "-p").replace(f"{models}{os.sep}", "models/")
            if any(mark in screen for mark in ("imgreg:", "━", "Report:")) and screen not in screens[-1:]:
                screens.append(screen)
        return screens
    finally:
        tmux("kill-server")


def tmux(*words: str) -> str:
    return subprocess.run([*TMUX, *words], check=True, capture_output=True, text=True).stdout


def drawn(screen: str) -> Image.Image:
    """A screen as a picture."""
    fonts = {
        bold: ImageFont.truetype(
            str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"DejaVuSansMono{'-Bold' if bold else ''}.ttf"),
            FONT_PX,
        )
        for bold in (False, True)
    }
    cell_px = fonts[False].getlength("M")
    size = (round(COLUMNS * cell_px) + 2 * MARGIN_PX, ROWS * LINE_PX + 2 * MARGIN_PX)
    picture = Image.new("RGB", size, tuple(THEME.background_color))
    pen, console = ImageDraw.Draw(picture), Console(width=500)
    for row, line in enumerate(screen.splitlines()[:ROWS]):
        column = 0
        for part in Text.from_ansi(line).render(console):
            style = part.style
            colour = tuple(style.color.get_truecolor(THEME)) if style and style.color else tuple(THEME.foreground_color)
            for char in part.text.rstrip("\n"):
                place = (MARGIN_PX + column * cell_px, MARGIN_PX + row * LINE_PX)
                pen.text(place, char, font=fonts[bool(style and style.bold)], fill=colour)
                column += 1
    return picture


def picture_of_mistakes(report: Path) -> Image.Image:
    """The report's worst mistakes, as large as a screen."""
    size = drawn("").size
    chromium = next(path for name in ("chromium", "google-chrome") if (path := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.goto(report.as_uri())
        page.evaluate("document.getElementById('wrong').scrollIntoView()")
        shot = report.with_name("mistakes.png")
        page.screenshot(path=shot)
        browser.close()
    return Image.open(shot).convert("RGB")


if __name__ == "__main__":
    main()
