"""What hostile files do to their readers; a module of its own, since the readers' processes import it by name."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from imgreg.errors import PhotoError

_KEPT: list[np.ndarray] = []


def behave(what: str) -> str:
    """As a file might make a reader behave."""
    if what == "hangs":
        time.sleep(3600)
    elif what == "dawdles":
        time.sleep(1.5)
    elif what == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif what == "leaves":
        os._exit(3)
    elif what == "eats":
        return str(len(np.ones(2**29)))  # 4 GB
    elif what == "leaks":
        _KEPT.append(np.empty(3 * 2**25))  # 0.75 GB of address space: the third file in one process has no room
    elif what == "talks":
        os.write(2, b"TIFFReadDirectory: a remark of a C library\n")
    return what


def behave_wrongly(what: str) -> str:
    return what + 1  # type: ignore[operator]


def given_up(what: str, error: PhotoError) -> str:
    return f"{what}: {error.code}"
