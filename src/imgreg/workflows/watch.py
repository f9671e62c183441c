"""How a workflow tells what it is doing, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _nobody(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Watcher:
    """Three ears.

    say    a line the user must see: a fallback, a warning
    tell   a line for those who asked for more
    step   (stage, done, total, note) as often as something moved; total 0 where it is not known
    """

    say: Callable[[str], None] = _nobody
    tell: Callable[[str], None] = _nobody
    step: Callable[[str, int, int, str], None] = _nobody
