"""Processes that start with nothing of the caller: neither its main module nor what it has loaded."""

from __future__ import annotations

import sys
import types
from multiprocessing import context as contexts
from threading import Lock

START = "ForkServer" if hasattr(contexts, "ForkServerContext") else "Spawn"  # Windows has no fork server
_STARTING = Lock()  # two threads at once would each take the other's module for the caller's


class _Process(getattr(contexts, f"{START}Process")):  # type: ignore[misc]
    """Starts without the caller's main module, which multiprocessing would run once more in each process: a script or a
    notebook that uses imgreg need not guard against that."""

    def start(self) -> None:
        with _STARTING:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = types.ModuleType("__main__")
            try:
                super().start()
            finally:
                sys.modules["__main__"] = main


class FreshContext(getattr(contexts, f"{START}Context")):  # type: ignore[misc]
    """A multiprocessing context for a pool of such processes."""

    Process = _Process
