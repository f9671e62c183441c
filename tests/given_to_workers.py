"""What tests have worker processes do: in a module that these can import."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from imgreg.errors import DivergedError


def work(item: tuple[Path, str]) -> str:
    """In a worker. Every start leaves a file, so that tests can count them."""
    folder, what = item
    n_started = len(list(folder.glob(f"{what}-*")))
    (folder / f"{what}-{n_started}").touch()
    if what == "always" or (what == "once" and not n_started):
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "diverges":
        raise DivergedError("the loss became NaN")
    if what == "endless":
        time.sleep(60)
    return f"{what} by {os.getpid()}"
