"""How a command reports its progress."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from imgreg.cli import progress
from imgreg.cli.progress import curve_lines, watching
from imgreg.cli.show import wrapped
from imgreg.runs.history import Epoch


def row(number: int, *, train: float, val: float) -> Epoch:
    return Epoch(
        epoch=number,
        learning_rate=1e-3,
        objective=train,
        train_loss=train,
        train_accuracy=0.9,
        val_loss=val,
        val_accuracy=0.8,
        weight_penalty=0.0,
        seconds=0.1,
    )


def test_a_line_now_and_then_where_there_is_no_terminal(capsys, monkeypatch) -> None:
    """Not at every step, not in the first seconds; with what is done, how fast, and what is left."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with watching(quiet=False, verbose=False) as watcher:
        for done in range(0, 121, 10):
            watcher.step("computing features", done, 480, "")
            now[0] += 2.0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "imgreg: computing features: 50 of 480, about 86 s left (5.0 views/s)"
    assert len(lines) == 2


def test_a_restarted_stage_restarts_its_timer(capsys, monkeypatch) -> None:
    """As for a second recipe's features: neither the first recipe's nor the time between the two count."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with watching(quiet=False, verbose=False) as watcher:
        for done in (0, 10):
            watcher.step("computing features", done, 10, "")
            now[0] += 1.0
        now[0] += 500.0
        for done in range(0, 121, 10):
            watcher.step("computing features", done, 480, "")
            now[0] += 2.0
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "imgreg: computing features: 50 of 480, about 86 s left (5.0 views/s)"


def test_quiet_tells_no_progress(capsys, monkeypatch) -> None:
    """Warnings come through."""
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    with watching(quiet=True, verbose=False) as watcher:
        watcher.step("reading photos", 1, 2, "")
        watcher.say("a warning")
    assert capsys.readouterr().err == "imgreg: a warning\n"


def test_curves_fit_a_terminal_and_fall_as_the_losses_do() -> None:
    """Both losses of a training on one scale, the last value in figures, 80 columns at most."""
    rows = [row(i + 1, train=0.8 - 0.007 * i, val=0.8) for i in range(100)]
    train, val = curve_lines({"a recipe of a very long name": rows})
    assert max(map(len, (train, val))) <= 80
    assert "  0.107  █" in train
    assert train.endswith("▂▂▂")
    assert set(val.split()[-1]) == {"█"}


def test_bars_fit_the_terminal_and_tell_the_time() -> None:
    """Long names and notes are cut at 70 columns; elapsed and remaining time follow the count."""
    printed = Console(width=70, file=io.StringIO())
    bars = progress._bars({"r": [row(1, train=0.5, val=0.6)] * 200}, printed)
    task = bars.add_task("checking cached features", total=400, note="logistic-regression on a long name " * 3)
    now = [0.0]
    bars.get_time = lambda: now[0]
    bars.tasks[0]._get_time = lambda: now[0]
    bars.reset(task, total=400)
    for second in range(1, 76):
        now[0] = float(second)
        bars.update(task, completed=2 * second)
    printed = Console(width=70, file=io.StringIO())
    printed.print(*bars.get_renderables(), sep="\n")
    lines = printed.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 70
    assert "150/400 1:15, 2:05 left" in lines[0]


def test_a_message_breaks_between_words(monkeypatch) -> None:
    """At the terminal's width, never inside an option or a path; lines of a list stay lines."""
    monkeypatch.setenv("COLUMNS", "30")
    text = wrapped("imgreg: too few photos here. Use --folds 0\n  /a/long/path/to/photo.jpg: bad")
    assert text == "imgreg: too few photos here.\n  Use --folds 0\n  /a/long/path/to/photo.jpg:\n  bad"


def test_a_warning_is_told_once(capsys) -> None:
    """Runs side by side may each give the same one."""
    with watching(quiet=False, verbose=False) as watcher:
        for line in ("photos are few", "labels look wrong", "photos are few"):
            watcher.say(line)
    assert capsys.readouterr().err == "imgreg: photos are few\nimgreg: labels look wrong\n"


def test_only_the_last_trainings_are_drawn() -> None:
    """Fifty recipes do not fill the screen."""
    assert len(curve_lines({f"r{i}": [row(1, train=0.5, val=0.6)] for i in range(50)})) == 2 * progress.CURVES


@pytest.mark.parametrize("name", ["reading photos", "a stage of unknown length"])
def test_a_stage_of_unknown_length_counts(capsys, monkeypatch, name) -> None:
    """Without a total there is no time left to tell."""
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.0)
    with watching(quiet=False, verbose=False) as watcher:
        watcher.step(name, 0, 0, "")
        time.sleep(0.01)
        watcher.step(name, 7, 0, "here")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"imgreg: {name}: 7 (")
    assert last.endswith("here)")
    assert "left" not in last
