"""Ctrl-C and SIGTERM, raised where the program is, so that temporary folders are removed.

Code of others may swallow what is raised in its midst (an import, a callback): it is raised again at the next step.
"""

from __future__ import annotations

import signal
from types import FrameType

_received: list[int] = []


class TerminatedError(BaseException):
    """SIGTERM."""


def listen() -> None:
    """Take both signals from now on."""
    _received.clear()
    signal.signal(signal.SIGTERM, _receive)
    signal.signal(signal.SIGINT, _receive)


def stop_if_asked() -> None:
    """Raise again what has been received. raises KeyboardInterrupt or TerminatedError"""
    if _received:
        raise KeyboardInterrupt if _received[0] == signal.SIGINT else TerminatedError


def _receive(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
    _received.append(signum)
    stop_if_asked()
