"""A run as a folder of plain files: written, and read back with every file validated.

config.toml  environment.json  split.csv  skipped.csv  history.csv  layers.csv  val_probabilities.npy
train_true_class.npy  test_probabilities.npy  metrics.json  model.json  head.safetensors  calibration.safetensors
report.html, its figures as PNG and SVG beside it, views.png, and pictures/ (pictures.py)
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from imgreg.errors import ArtefactError
from imgreg.runs.checksums import refuse_changed
from imgreg.runs.files import read_json, read_text, refuse_irregular
from imgreg.runs.history import Epoch, History, epochs_of_csv
from imgreg.runs.layers import LayerRow, layers_of_csv
from imgreg.runs.summary import RunSummary

_SHA256 = re.compile("[0-9a-f]{64}")
PRIVATE = ("command", "data", "weights", "pipeline")  # of environment.json: this machine's paths, for it alone
_TRAIN_TRUE_CLASS = "train_true_class.npy"  # a run of an older imgreg has none
_LAYERS = "layers.csv"  # likewise
_TEST = "test_probabilities.npy"  # likewise; nor has a run without test photos
_READ = (
    *("metrics.json", "history.csv", "split.csv", "skipped.csv", "environment.json", "config.toml"),
    *("val_probabilities.npy", _TRAIN_TRUE_CLASS, _TEST, _LAYERS),
)


FOLD = "fold-"
SplitName = Literal["train", "val", "test"]
_SPLITS = re.compile(rf"train|val|test|{FOLD}[1-9][0-9]?")


@dataclass(frozen=True)
class SplitRow:
    """One photo's place in the run: a row of split.csv, which also orders val_probabilities."""

    path: str
    label: str
    split: str  # train, val or test; with cross-validation fold-1, fold-2, ...: the fold that it validates
    sha256: str

    def on(self, split: SplitName) -> bool:
        """Whether the photo is in this split; with cross-validation it trains and validates."""
        return self.split == split or (split != "test" and self.split.startswith(FOLD))

    @property
    def fold(self) -> int:
        """Counted from 0; 0 too for a single split."""
        return int(self.split.removeprefix(FOLD)) - 1 if self.split.startswith(FOLD) else 0


@dataclass(frozen=True)
class SkippedRow:
    """A file that was left out, and why: a row of skipped.csv."""

    path: str
    reason: str


@dataclass(frozen=True)
class Run:
    """A finished run: what its folder holds, but for the head."""

    folder: Path
    summary: RunSummary
    history: History
    split: tuple[SplitRow, ...]
    skipped: tuple[SkippedRow, ...]
    config_toml: str
    environment: Mapping[str, Any]
    test_probabilities: NDArray[np.float32] | None = None  # (n_test, n_classes), of the kept head

    @property
    def data(self) -> Path | None:
        """The photos that it was trained on, as this machine named them then; None where that is not known."""
        named = str(self.environment.get("data", ""))
        return Path(named) if named else None


def write_text(path: Path, text: str) -> None:
    """Write UTF-8; a file name's bytes that are not UTF-8 are written as they were."""
    path.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


def write_json(path: Path, document: Any) -> None:
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


def rows_to_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV text with a header line."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def values_to_csv(kind: type[Any], values: Iterable[Any]) -> str:
    """Values of one dataclass as CSV text, a column for each field."""
    return rows_to_csv([field.name for field in fields(kind)], (tuple(vars(value).values()) for value in values))


def write_run(folder: Path, run: Run) -> None:
    """Write the tables, arrays and documents that `read_run` reads; model.json and the head are heads/store.py's."""
    write_text(folder / "config.toml", run.config_toml)
    write_json(folder / "environment.json", run.environment)
    history = run.history
    write_text(folder / "split.csv", values_to_csv(SplitRow, run.split))
    write_text(folder / "skipped.csv", values_to_csv(SkippedRow, run.skipped))
    write_text(folder / "history.csv", values_to_csv(Epoch, history.epochs))
    arrays = {
        "val_probabilities.npy": history.val_probabilities,
        _TRAIN_TRUE_CLASS: history.train_true_class,
        _TEST: run.test_probabilities,
    }
    for name, array in arrays.items():
        if array is not None:
            np.save(folder / name, array.astype(np.float32), allow_pickle=False)
    if history.layers:
        write_text(folder / _LAYERS, values_to_csv(LayerRow, history.layers))
    write_json(folder / "metrics.json", run.summary.model_dump(mode="json") | {"run": run.summary.name})


def read_run(folder: Path, *, checked: bool = True) -> Run:
    """Read a run back, under the name that its folder has.

    Parameters
    ----------
    checked : bool, optional
        Refuse files that are not those that were written.

    Raises
    ------
    ArtefactError
        Naming the file that is missing, was changed or does not make sense.
    """
    if checked:
        refuse_changed(folder, _READ)
    try:
        summary = _summary(folder)
        epochs = epochs_of_csv(read_text(folder / "history.csv").splitlines())
        split = tuple(SplitRow(**row) for row in _rows(folder / "split.csv"))
        skipped = tuple(SkippedRow(**row) for row in _rows(folder / "skipped.csv"))
        layers = layers_of_csv(read_text(folder / _LAYERS).splitlines()) if (folder / _LAYERS).exists() else ()
        environment = read_json(folder / "environment.json")
        if not isinstance(environment, dict) or not isinstance(environment.get("versions", {}), dict):
            raise ValueError("environment.json: expected a table that contains a table of versions")
        config_toml = read_text(folder / "config.toml")
        _refuse_contradictions(folder, summary, epochs=epochs, split=split)
        n_epochs, n_classes = len(epochs), len(summary.classes)
        probabilities = _array(folder / "val_probabilities.npy", (n_epochs, summary.n_val, n_classes))
        own, test = (
            _array(path, shape) if path.exists() else None
            for path, shape in (
                (folder / _TRAIN_TRUE_CLASS, (n_epochs, summary.n_train)),
                (folder / _TEST, (summary.n_test, n_classes)),
            )
        )
    except (OSError, ValueError, KeyError, TypeError, ValidationError, RecursionError, csv.Error) as error:
        raise ArtefactError(
            f"{folder} is not a readable run: {_first_line(error)}. Runs are written by `imgreg train` to models/; "
            "`imgreg runs` lists them."
        ) from error
    history = History(epochs, probabilities, own, layers, kept_epoch=summary.kept_epoch)
    summary = summary.model_copy(update={"run": str(folder), "name": folder.name})
    return Run(folder, summary, history, split, skipped, config_toml, environment, test)


def _refuse_contradictions(
    folder: Path, summary: RunSummary, *, epochs: Sequence[Epoch], split: Sequence[SplitRow]
) -> None:
    """What metrics.json says must be what the tables hold: every array is measured by it. raises ArtefactError"""
    if odd := next((row.sha256 for row in split if not _SHA256.fullmatch(row.sha256)), None):  # names a picture's file
        raise _damaged(folder / "split.csv", f"found sha256 {odd[:80]!r}")
    if strange := next((row.split for row in split if not _SPLITS.fullmatch(row.split)), None):
        raise _damaged(folder / "split.csv", f"found split {strange[:80]!r}")
    counts = tuple(sum(row.on(side) for row in split) for side in ("train", "val", "test"))
    listed = (summary.n_train, summary.n_val, summary.n_test)
    if counts != listed:
        says = f"found {counts} train, val and test photos, metrics.json says {listed}"
        raise _damaged(folder / "split.csv", says)
    folds = {row.split for row in split if row.split.startswith(FOLD)}
    alone = any(row.split in ("train", "val") for row in split)
    if folds != {f"{FOLD}{k}" for k in range(1, min(summary.n_folds, 100) + 1)} or (folds and alone):
        raise _damaged(folder / "split.csv", f"found {len(folds)} folds, metrics.json says {summary.n_folds}")
    if unknown := next((row.label for row in split if row.label not in summary.classes), None):
        says = f"found label {unknown[:80]!r}, metrics.json has {', '.join(summary.classes)}"
        raise _damaged(folder / "split.csv", says)
    numbers = [row.epoch for row in epochs]
    counted = numbers == list(range(1, len(numbers) + 1)) and summary.epochs_run == len(numbers)
    if not counted or not {summary.best_epoch, summary.kept_epoch} <= set(numbers):
        raise _damaged(
            folder / "history.csv",
            f"found {len(numbers)} epochs, metrics.json has {summary.epochs_run} with {summary.best_epoch} as the best "
            f"and {summary.kept_epoch} as the kept one",
        )


def _damaged(path: Path, says: str) -> ArtefactError:
    return ArtefactError(f"{path}: {says}. The run is damaged: train it again.")


def list_runs(models: Path) -> tuple[tuple[RunSummary, ...], tuple[Path, ...]]:
    """Summaries of the runs under `models`, oldest first, and the folders of runs that cannot be read."""
    found, damaged = [], []
    for folder in sorted(models.iterdir()) if models.is_dir() else ():
        if folder.name.startswith(".") or not (folder / "model.json").is_file():
            continue
        try:
            summary = _summary(folder)
        except (ArtefactError, OSError, ValueError, RecursionError):
            damaged.append(folder)
            continue
        found.append(summary.model_copy(update={"run": str(folder), "name": folder.name}))
    return tuple(sorted(found, key=lambda summary: (summary.created, summary.name))), tuple(damaged)


def _array(path: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Probabilities of the shape that the tables ask for. raises ArtefactError, ValueError or OSError

    Mapped first: a header that claims more than the file holds is refused before any memory is allocated.
    """
    refuse_irregular(path)
    try:
        with np.errstate(over="ignore"):  # of a shape whose product is beyond 64 bits
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ArithmeticError, EOFError, MemoryError, SyntaxError, TypeError, TokenError) as error:
        raise ValueError(f"{path.name}: not a readable array ({type(error).__name__})") from error
    if not isinstance(mapped, np.ndarray) or mapped.dtype != np.float32:
        raise ValueError(f"{path.name}: found {getattr(mapped, 'dtype', 'an archive')}, expected float32")
    if mapped.shape != shape:
        raise _damaged(path, f"found shape {mapped.shape}, expected {shape}")
    values = np.array(mapped)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"{path.name}: found a value that is not a probability")
    return values


def _summary(folder: Path) -> RunSummary:
    return RunSummary.model_validate(read_json(folder / "metrics.json"))  # pydantic's own parser refuses surrogates


def _rows(path: Path) -> list[dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True))
    if odd := next((i for i, row in enumerate(rows, start=2) if None in row or None in row.values()), None):
        raise ValueError(f"{path.name}, line {odd}: too few or too many columns")
    return rows


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    return (str(error).splitlines() or [type(error).__name__])[0]
