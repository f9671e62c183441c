"""How a workflow tells what it is doing, without knowing who listens."""

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
    """Four ears.

    say    a line the user must see: a fallback, a warning
    tell   a line for those who asked for more
    step   (stage, done, total, note) as often as something moved; total 0 where it is not known
    epoch  (recipe, row) after each epoch of a head whose curve is of interest
    printed   lines that are on the terminal already, above the result
    """

    say: Callable[[str], None] = _nobody
    tell: Callable[[str], None] = _nobody
    step: Callable[[str, int, int, str], None] = _nobody
    epoch: Callable[[str, Epoch], None] = _nobody
    printed: set[str] = field(default_factory=set)

    def stage(self, name: str) -> Callable[[int, int], None]:
        """What tells (done, total) of one stage."""
        return lambda done, total: self.step(name, done, total, "")
