"""How a long computation reports messages and progress, without knowing how they are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgreg.runs.history import Epoch


def _nobody(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Watcher:
    """Receives messages and progress; by default ignores them.

    Attributes
    ----------
    say : callable
        A line that the user must see: a warning, or what was chosen instead of what was asked for.
    note : callable
        A line that --quiet hides.
    tell : callable
        A line for --verbose.
    step : callable
        (stage, done, total, note) after each step; total is 0 if it is not known.
    epoch : callable
        (recipe, row) after each epoch of a head.
    printed : set of str
        Lines that are on the terminal already, above the result.
    """

    say: Callable[[str], None] = _nobody
    note: Callable[[str], None] = _nobody
    tell: Callable[[str], None] = _nobody
    step: Callable[[str, int, int, str], None] = _nobody
    epoch: Callable[[str, Epoch], None] = _nobody
    printed: set[str] = field(default_factory=set)

    def stage(self, name: str) -> Callable[[int, int], None]:
        """A function of (done, total) that reports the progress of one stage."""
        return lambda done, total: self.step(name, done, total, "")
