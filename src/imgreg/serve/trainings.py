"""Trainings and label checks that pages start, watch, stop and resume: one process each, one at a time."""

from __future__ import annotations

import json
import math
import os
import secrets
import signal
import subprocess
import sys
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread, Timer
from typing import Any, Literal

from imgreg.errors import BusyError
from imgreg.reports.page import number
from imgreg.runs.names import checked_name
from imgreg.serve.runs_page import CURVES

State = Literal["running", "stopping", "stopped", "finished", "failed"]
_KEPT = 20
SECONDS_TO_STOP = 10


@dataclass
class Training:
    """One training or label check: what was asked, and what its process has reported so far.

    Attributes
    ----------
    asked : dict
        As train_worker's `run_command` takes it.
    epochs : dict
        Figures by epoch; a resumed training goes on where it was.
    made : str
        The name of the folder that it made, once it is finished.
    """

    asked: dict[str, Any]
    state: State = "running"
    stage: str = "starting"
    done: int = 0
    total: int = 0
    made: str = ""
    error: str = ""
    epochs: dict[int, dict[str, float]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = field(default=None, repr=False)
    _changing: Lock = field(default_factory=Lock, init=False, repr=False)  # its state, by stop and by its end

    @property
    def is_running(self) -> bool:
        return self.state in ("running", "stopping")

    @property
    def data_name(self) -> str:
        """The photos' folder, by its own name."""
        return Path(self.asked["data"]).name

    def start(self) -> None:
        self.state, self.stage, self.error = "running", "starting", ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "imgreg.serve.train_worker", json.dumps(self.asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            start_new_session=True,
        )
        Thread(target=self._listen, args=(self.process,), daemon=True).start()

    def stop(self) -> None:
        """Ask the process to end, and end it if it does not; what it has computed is kept in the cache."""
        with self._changing:
            if self.state != "running" or self.process is None or self.process.stdin is None:
                return
            self.state = "stopping"
        self.process.stdin.close()
        # While Keras is being imported, the process does not react for several seconds.
        killer = Timer(SECONDS_TO_STOP, _kill, (self.process,))
        killer.daemon = True
        killer.start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        others: deque[str] = deque(maxlen=20)  # what libraries print; shown where the process dies
        assert process.stdout is not None
        for line in process.stdout:
            try:
                message = json.loads(line)
            except ValueError:
                others.append(line)
            else:
                self._receive(message)
        process.wait()
        with self._changing:
            if self.made:
                self.state = "finished"
            elif self.state == "stopping":
                self.state = "stopped"
            else:
                self.error = self.error or "".join(others) or f"The process ended with code {process.returncode}."
                self.state = "failed"

    def _receive(self, message: dict[str, Any]) -> None:
        if "stage" in message:
            self.stage, self.done, self.total = message["stage"], message["done"], message["total"]
        elif "epoch" in message:
            self.epochs[message["epoch"]["epoch"]] = message["epoch"]
        elif "say" in message:
            self.lines.append(message["say"])
        elif "made" in message:
            self.made = message["made"]
        elif "error" in message:
            self.error = message["error"]

    def document(self) -> dict[str, Any]:
        """What a page shows of it."""
        rows = [self.epochs.get(number, {}) for number in range(1, max(self.epochs, default=0) + 1)]
        curves = {name: [number(row.get(name, math.nan)) for row in rows] for name in CURVES}
        shown = ("state", "stage", "done", "total", "made", "error", "lines")
        return {name: getattr(self, name) for name in shown} | curves


def _kill(process: subprocess.Popen[str]) -> None:
    """End it with the processes that it started, which would go on and keep its output open."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


class Trainings:
    """All trainings and label checks since the server was started, by a random name."""

    def __init__(self, models: Path) -> None:
        self.models = models
        self.all: OrderedDict[str, Training] = OrderedDict()

    def start(self, data: Path, *, name: str | None, **asked: Any) -> str:
        """Start what is asked as train_worker's `run_command` takes it.

        Raises
        ------
        UsageError
            If the name is not a valid folder name.
        BusyError
            While another one runs.
        """
        if name is not None:
            checked_name(name)
        self._refuse_second()
        training = Training({"data": str(data), "models": str(self.models.resolve()), "name": name} | asked)
        number = secrets.token_hex(8)
        self.all[number] = training
        while len(self.all) > _KEPT:
            self.all.popitem(last=False)
        training.start()
        return number

    def resume(self, training: Training) -> None:
        """Start it again; it continues where its checkpoints end. raises BusyError while another runs"""
        self._refuse_second()
        training.start()

    def started(self, command: str) -> list[tuple[str, Training]]:
        """Those of one command, the newest first."""
        return [(number, one) for number, one in reversed(self.all.items()) if one.asked["command"] == command]

    def close(self) -> None:
        """Stop what runs, and wait for it."""
        for training in self.all.values():
            training.stop()
        for training in self.all.values():
            if training.process is not None:
                training.process.wait()

    def _refuse_second(self) -> None:
        if any(training.is_running for training in self.all.values()):
            raise BusyError("Another training or label check is running. Stop it first, or wait until it is done.")
