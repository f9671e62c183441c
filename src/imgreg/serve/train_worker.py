"""A training in a process of its own: what is asked as JSON in, what happens as JSON lines out.

usage: python -m imgreg.serve.train_worker '{"data": ..., "models": ..., "name": ..., "recipe": ..., "options": {...}}'

It is stopped by closing its stdin, also by the death of the server; finished epochs are then kept in the cache, and the
same training goes on from there when it is asked again.
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

from imgreg.api.train import train
from imgreg.errors import ImgregError
from imgreg.progress import Watcher
from imgreg.recipes.settings import build_settings
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
    settings = build_settings(asked["recipe"], asked["options"])
    words = ["imgreg", "train", asked["data"], "--recipe", asked["recipe"]]
    words += [word for name, value in asked["options"].items() for word in (f"--{name.replace('_', '-')}", str(value))]
    session = Session(models=Path(asked["models"]), name=asked["name"], command=shlex.join(words), watcher=watcher)
    try:
        _send(run=train(Path(asked["data"]), settings=settings, session=session).name)
    except ImgregError as error:
        _send(error=str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _send(**message: Any) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
