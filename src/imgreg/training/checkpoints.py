"""Checkpoints of interrupted trainings, in the cache, each named by all that the training's bits depend on.

The same command again finds it, whatever the run is called; any other photo, setting, seed or version does not.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from imgreg.config import Recipe, Settings
from imgreg.data.split import Split
from imgreg.features.extract import BaseIdentity
from imgreg.heads.checkpoint import Checkpoint, read_checkpoint
from imgreg.paths import cache_folder

CHECKPOINTS = "checkpoints"  # the folder in the cache
TRAINING_FORMAT = 3  # raised when the same recipe, split and seed may give other figures
STALE_SECONDS = 30 * 86_400  # a training that nobody went on with for so long is forgotten
_LATER = {  # settings added since that format: in the key only where they differ from their defaults
    "head": ("output", "layers"),
    "optimizer": ("beta_1", "beta_2", "epsilon", "alpha"),
    "training": ("min_delta", "keep"),
}
VERSIONS_OF = ("keras", "tensorflow", "numpy", "scipy", "albumentations", "pillow")


def training_key(
    settings: Settings, *, head_seed: int, photos: str, classes: Sequence[str], identity: BaseIdentity
) -> str:
    """Name all that a head's bits depend on; the recipe's own name, source and expectation are left out.

    Parameters
    ----------
    head_seed : int
        Of initial weights, order and dropout; the settings' own seed draws the views.
    photos : str
        `photos_digest` of the split.
    """
    versions = [importlib.metadata.version(name) for name in VERSIONS_OF]
    preprocessing = [] if identity.preprocessing == "vgg16" else [identity.preprocessing]
    document: list[Any] = [
        TRAINING_FORMAT,
        _recipe_document(settings.recipe),
        _pipeline_bytes(settings),
        settings.seed,
        head_seed,
        [repr(identity), *preprocessing, list(classes), versions, photos],
    ]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _recipe_document(recipe: Recipe) -> dict[str, Any]:
    """The recipe as a key names it: a setting that was added later, left at its default, changes no key."""
    document = recipe.model_dump(mode="json", exclude={"name", "source", "expect"})
    if recipe.finetune.block == "none":
        del document["finetune"]
    for table, names in _LATER.items():
        defaults = type(getattr(recipe, table))().model_dump(mode="json")
        for name in names:
            if document[table][name] == defaults[name]:
                del document[table][name]
    return document


def photos_digest(split: Split) -> str:
    """A name for the contents and labels of train, validation and test photos, in order, and their folds."""
    parts = [[[photo.sha256, photo.label] for photo in part] for part in (split.train, split.val, split.test)]
    return hashlib.sha256(json.dumps([parts, list(split.folds)]).encode()).hexdigest()


def checkpoint_path(key: str) -> Path:
    """Where the training of this key keeps its checkpoint. Forgets those that are stale, this one too."""
    folder = cache_folder() / CHECKPOINTS
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            if path.stat().st_mtime < time.time() - STALE_SECONDS:
                path.unlink()
        except FileNotFoundError:  # another process was at it
            continue
    return folder / key


def resumable_training(
    path: Path, *, resume: bool | None, what: str, n_epochs: int, say: Callable[[str], None]
) -> Checkpoint | None:
    """Read the checkpoint to resume from, and say so; None where the training begins at its first epoch.

    Parameters
    ----------
    resume : bool or None
        None: resume if there is a checkpoint. True: the same, and say if there is none. False: start over.
    what : str
        Name of the training in messages.
    """
    resume_from = None if resume is False else read_checkpoint(path)
    if resume_from is not None:
        say(f"{what}: resuming an interrupted training after epoch {resume_from.history.last.epoch} of {n_epochs}.")
    elif resume:
        say(f"{what}: no interrupted training of these photos and settings was found; starting at epoch 1.")
    return resume_from


def _pipeline_bytes(settings: Settings) -> str:
    pipeline = settings.recipe.augmentation.pipeline
    return "" if pipeline is None else hashlib.sha256(Path(pipeline).read_bytes()).hexdigest()
