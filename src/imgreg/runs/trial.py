"""One training of a repeated comparison, as plain numbers in one JSON file in the cache.

Not a run: no head is kept, only what statistics need. A trial's name is the hash of all that its figures depend on, so
a study that was killed finds its finished trials, and two studies share those they have in common.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from imgreg.atomic_write import write_atomic

TRIALS = "trials"  # the folder in the cache


class Trial(BaseModel):
    """One recipe on one split. Losses are plain cross-entropies in nats. The kept head is scored on the test photos.

    Attributes
    ----------
    test_labels, test_probabilities
        Of each test photo, in the split's order: its class as an index, and its probabilities by the kept head.
    train_own_last
        Of each train photo, in the split's order: its own class's probability after the last epoch.
    train_forgotten
        How often that probability fell from above 0.5 to below between two epochs.
    """

    model_config = ConfigDict(frozen=True)

    recipe: str
    repeat: int
    fold: int
    n_train: int
    n_val: int
    best_epoch: int
    best_val_loss: float
    test_loss: float
    test_accuracy: float
    train_losses: tuple[float, ...]  # by epoch, as the next
    val_losses: tuple[float, ...]
    test_labels: tuple[int, ...]
    test_probabilities: tuple[tuple[float, ...], ...]
    train_own_last: tuple[float, ...] = ()
    train_forgotten: tuple[int, ...] = ()

    @property
    def gap_last(self) -> float:
        """Validation less train cross-entropy after the last epoch."""
        return self.val_losses[-1] - self.train_losses[-1]


class TrialStore:
    """Finished trials in a folder, a file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Trial | None:
        """Read a trial; None if there is none, or its file is damaged."""
        try:
            text = self._path(key).read_text(encoding="utf-8")
            checksum, _, document = text.partition("\n")
            if checksum != _checksum(document):
                return None
            return Trial.model_validate_json(document)
        except (FileNotFoundError, UnicodeDecodeError, ValidationError):
            return None

    def files(self) -> tuple[Path, ...]:
        """Every trial's file."""
        return tuple(sorted(self.folder.glob("*.json"))) if self.folder.is_dir() else ()

    def damaged(self) -> tuple[Path, ...]:
        """Files that `get` would not take."""
        return tuple(path for path in self.files() if self.get(path.stem) is None)

    def put(self, key: str, trial: Trial) -> None:
        """Write a trial, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        document = trial.model_dump_json()
        write_atomic(self._path(key), f"{_checksum(document)}\n{document}".encode())

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def _checksum(document: str) -> str:
    return hashlib.blake2b(document.encode(), digest_size=16).hexdigest()
