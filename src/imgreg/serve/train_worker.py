"""A training or label check in a process of its own: what is asked as JSON in, what happens as JSON lines out.

usage: python -m imgreg.serve.train_worker '{"command": "train", "data": ..., "models": ..., "recipe": ..., ...}'

It is stopped by closing its stdin, also by the death of the server. A training's epochs and a label check's trials that
are finished are kept in the cache, and the same command continues from there.
"""

from __future__ import annotations

import _thread
import json
import shlex
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imgreg.api.label_issues import find_label_issues
from imgreg.api.train import train
from imgreg.api.verify import recorded_settings
from imgreg.config import LABEL_FOLDS, Settings
from imgreg.errors import ImgregError
from imgreg.progress import Watcher
from imgreg.recipes import overrides_of, recipe_names
from imgreg.recipes.settings import build_settings, options_of
from imgreg.runs.folder import read_run
from imgreg.runs.history import Epoch
from imgreg.session import Session


def main(asked: dict[str, Any]) -> None:
    stopped = threading.Event()

    def wait_for_the_end_of_stdin() -> None:
        sys.stdin.read()
        stopped.set()
        _thread.interrupt_main()

    def step(stage: str, done: int, total: int, note: str) -> None:
        if stopped.is_set():  # libraries may swallow what is raised in their midst
            raise KeyboardInterrupt
        _send(stage=stage, done=done, total=total, note=note)

    def epoch(_: str, row: Epoch) -> None:
        _send(epoch=asdict(row))

    threading.Thread(target=wait_for_the_end_of_stdin, daemon=True).start()
    watcher = Watcher(say=lambda line: _send(say=line), step=step, epoch=epoch)
    try:
        _send(made=run_command(asked, watcher=watcher))
    except ImgregError as error:
        _send(error=str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def run_command(asked: dict[str, Any], *, watcher: Watcher) -> str:
    """Train, or check labels, and return the name of the folder that this made. raises ImgregError

    Parameters
    ----------
    asked : dict
        command
            train or label-issues.
        data, models, name
            Folders of the photos and of the results, and the result's name or None.
        recipe, options
            As build_settings takes them.
        run
            Of a label check: the name of the run whose settings are used instead, or None.
        repeats
            Of a label check.
    """
    data, models, given = Path(asked["data"]), Path(asked["models"]), asked["options"]
    if asked.get("run"):
        settings = recorded_settings(read_run(models / asked["run"]))
        typed = typed_settings(settings)
    else:
        settings = build_settings(asked["recipe"], given)
        typed = ["--recipe", asked["recipe"]]
        typed += [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    if typed and asked["command"] == "label-issues":
        typed += ["--repeats", str(asked["repeats"])]
    command = shlex.join(["imgreg", asked["command"], asked["data"], *typed]) if typed else ""
    session = Session(models=models, name=asked["name"], command=command, watcher=watcher)
    if asked["command"] == "train":
        return train(data, settings=settings, session=session).name
    done = find_label_issues(data, settings=settings, repeats=asked["repeats"], folds=LABEL_FOLDS, session=session)
    return done.folder.name


def typed_settings(settings: Settings) -> list[str]:
    """A run's settings as options of a command; empty for a recipe of the user's own, whose file may be gone."""
    recipe = settings.recipe
    if recipe.name not in recipe_names():
        return []
    overrides = [word for one in overrides_of(recipe) for word in ("--set", one)]
    return ["--recipe", recipe.name, *overrides, *options_of(settings)]


def _send(**message: Any) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
