"""imgreg verify: are a run's files unchanged, and does training it again give the same head and history?"""

from __future__ import annotations

import csv
import io
import os
import tempfile
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgreg.config import Photos, Settings
from imgreg.errors import ArtefactError, DatasetError
from imgreg.heads.checkpoint import forget_checkpoint
from imgreg.heads.store import BLOCK_FILE, load_head
from imgreg.progress import Watcher
from imgreg.runs.checksums import changed_files, read_sums
from imgreg.runs.folder import Run, SplitName, read_run
from imgreg.session import Session
from imgreg.training.new_folder import refuse_cache_inside
from imgreg.training.record import record_figures
from imgreg.training.run_values import environment_now
from imgreg.training.train import train_heads


@dataclass(frozen=True)
class Verification:
    """What verify found.

    Attributes
    ----------
    listed : bool
        Whether the run has a list of its files.
    files : tuple of str
        A line for each file of the run that is not as it was written.
    same : bool or None
        Whether training it again gave the same head and history, to the bit; None where it was not trained.
    reasons : tuple of str
        What differs between then and now: photos, versions, machine, weights.
    """

    run: Path
    listed: bool
    files: tuple[str, ...]
    same: bool | None
    differences: tuple[str, ...]
    reasons: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.files and self.same is not False


def verify(
    folder: Path, *, again: bool = True, data: Path | None = None, watcher: Watcher | None = None
) -> Verification:
    """Check a run's files, and train it once more from its own settings.

    Parameters
    ----------
    again : bool
        Whether to train.
    data : Path, optional
        Where the photos are now; by default where they were.

    Raises
    ------
    ArtefactError
        If the run cannot be read.
    DatasetError
        If its photos are gone.
    DivergedError
        If the loss became NaN or infinite in the first epoch.
    """
    files = changed_files(folder)
    listed = read_sums(folder) is not None
    try:
        run = read_run(folder, checked=False)  # changed files are reported above
        load_head(folder)
    except ArtefactError as error:
        if not files:
            raise
        return Verification(folder, listed, files, None, (str(error),), ())
    if not again:
        return Verification(folder, listed, files, None, (), ())
    photos = data or run.data
    if photos is None:
        raise DatasetError(f"{folder} does not record where its photos are. Give their location with --data.")
    if data is None and not _exists(photos):
        raise DatasetError(f"The photos of {folder} are not at {photos}. Give their current location with --data.")
    refuse_cache_inside(photos)
    session = Session(resume=False, watcher=watcher or Watcher())
    (result,) = train_heads(photos, [recorded_settings(run)], session=session, sanity_baselines=(), read_all=True)
    forget_checkpoint(result.outcome.checkpoint)
    with tempfile.TemporaryDirectory(prefix="imgreg-verify-") as models:
        second = Path(models) / "again"
        second.mkdir()
        renewed = record_figures(result, second, target=second, command="")
        differences = _differences(run, folder, renewed, second)
        reasons = _reasons(run, renewed)
    return Verification(folder, listed, files, not differences, differences, reasons if differences else ())


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that no system can have
        return False


def verification_document(done: Verification) -> dict[str, object]:
    """What verify --json prints."""
    return {
        "run": str(done.run),
        "holds": done.holds,
        "files_listed": done.listed,
        "files": list(done.files),
        "same_when_trained_again": done.same,
        "differences": list(done.differences),
        "reasons": list(done.reasons),
    }


def recorded_settings(run: Run) -> Settings:
    """The settings that a run was trained with. raises ArtefactError if its config.toml is damaged"""
    try:
        table = tomllib.loads(run.config_toml)
        usual = {name: field.default for name, field in Photos.model_fields.items()}
        _find_files_again(table, run.environment)
        # a default that is written out would count as set, and val_fraction is refused for data with its own split
        table["photos"] = {k: v for k, v in table.get("photos", {}).items() if usual.get(k) != v}
        table["photos"]["folds"] = run.summary.n_folds  # what auto chose; a run of an older imgreg has one split
        return Settings.model_validate(table)
    except (AttributeError, OverflowError, RecursionError, TypeError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ArtefactError(f"{run.folder}/config.toml: not readable by this version of imgreg: {first}.") from error


def _find_files_again(table: dict[str, Any], environment: Mapping[str, Any]) -> None:
    """Put the whole paths, which this machine alone knows, in place of those that config.toml shortens."""
    base, augmentation = table.get("base", {}), table.get("recipe", {}).get("augmentation", {})
    for part, key in ((base, "weights"), (augmentation, "pipeline")):
        kept = environment.get(key)
        if part.get(key) not in (None, "auto", "imagenet", "starter") and isinstance(kept, str):
            part[key] = kept


def _differences(run: Run, folder: Path, renewed: Run, again: Path) -> tuple[str, ...]:
    found = []
    if (folder / "head.safetensors").read_bytes() != (again / "head.safetensors").read_bytes():
        found.append("The head differs.")
    ours_tuned, theirs_tuned = ((one / BLOCK_FILE) for one in (folder, again))
    if _bytes(ours_tuned) != _bytes(theirs_tuned):
        found.append("The fine-tuned block differs.")
    ours, theirs = _figures(folder), _figures(again)
    if ours != theirs:
        epoch = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False), 1) if a != b), None)
        if epoch is None:
            found.append(f"The history has {len(theirs)} epochs, previously {len(ours)}.")
        else:
            was, now = run.history.epochs[epoch - 1].val_loss, renewed.history.epochs[epoch - 1].val_loss
            found.append(f"The history differs from epoch {epoch} (validation loss {was:.9g}, now {now:.9g}).")
    return tuple(found)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _figures(folder: Path) -> list[dict[str, str]]:
    """The history's rows, without the seconds they took."""
    text = (folder / "history.csv").read_text(encoding="utf-8")
    return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(io.StringIO(text))]


def _reasons(run: Run, renewed: Run) -> tuple[str, ...]:
    reasons = []
    names: dict[SplitName, str] = {"train": "train", "val": "validation", "test": "test"}
    for split, name in names.items():
        was, now = (Counter((r.sha256, r.label) for r in one.split if r.on(split)) for one in (run, renewed))
        if was != now:
            reasons.append(f"{(was - now).total()} {name} photos are missing, {(now - was).total()} are new.")
    for what in ("weights_sha256", "engine", "precision", "preprocessing", "image_size"):
        was_set, now_set = getattr(run.summary, what), getattr(renewed.summary, what)
        if was_set != now_set:
            reasons.append(f"{what}: {was_set}, now {now_set}.")
    reasons += _changed(run.environment, environment_now())
    return tuple(reasons) or ("No known cause; perhaps a different processor or number of threads.",)


def _changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    keys = ("python", "platform", "machine", "n_cpus")
    lines = [f"{key}: {was.get(key)}, now {now[key]}." for key in keys if was.get(key) != now[key]]
    then = was.get("versions", {})
    lines += [f"{k}: {then.get(k)}, now {v}." for k, v in now["versions"].items() if then.get(k) != v]
    threads = os.environ.get("TF_NUM_INTRAOP_THREADS")
    return [*lines, *([f"TF_NUM_INTRAOP_THREADS is now {threads}."] if threads else [])]
