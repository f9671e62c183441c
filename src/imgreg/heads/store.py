"""A trained head on disk: model.json says what it is and what it expects, head.safetensors holds its arrays.

Both are checked before use: format, keys, shapes, and the arrays' hash. Nothing is unpickled. msgspec reads the card,
where pydantic would be a sixth of the time that predict takes to answer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from imgreg.errors import ArtefactError
from imgreg.features.backbone import PREPROCESSINGS, Preprocessing, PreprocessingName
from imgreg.features.blocks import Block, block_of, tuned_shapes
from imgreg.features.engines import EngineName, Precision
from imgreg.features.stored import Stored, stored_shape
from imgreg.heads.calibration import MIN_REFERENCES, Calibration, CalibrationArrays, load_calibration
from imgreg.heads.ensemble import Arrays, joined, separated
from imgreg.heads.forward import ACTIVATIONS
from imgreg.heads.plan import Layer
from imgreg.runs.checksums import refuse_changed
from imgreg.runs.files import read_regular

Float32Array = NDArray[np.float32]

BLOCK_FILE = "block.safetensors"
MAX_HEADS = 20  # of a cross-validated run
_HEADER_BYTES = 2**20  # more than any model.json, or the header of a head's file, takes

POOLS = ("flatten", "avg", "max", "flatten+max")
NEEDS = {  # kind of layer: what it cannot do without
    "dense": "units",
    "batch_normalization": "epsilon",
    "layer_normalization": "epsilon",
    "group_normalization": "epsilon",
    "instance_normalization": "epsilon",
}

ARRAYS = {  # of each kind of normalizing layer, one value a channel or unit
    "scaling": ("moving_mean", "moving_variance"),
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "layer_normalization": ("gamma", "beta"),
    "group_normalization": ("gamma", "beta"),
    "instance_normalization": ("gamma", "beta"),
}


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """model.json: everything that predict must do just as training did."""

    format: Literal[1] = 1
    classes: tuple[str, ...]
    architecture: Literal["vgg16"] = "vgg16"
    preprocessing: PreprocessingName = "keras.applications.vgg16.preprocess_input"
    weights: str  # imagenet, starter, or a path
    weights_sha256: str
    image_size: Annotated[int, msgspec.Meta(ge=32, le=1024)]  # as config.Base has it
    decode_policy: int
    engine: EngineName
    precision: Precision
    feature_dtype: Literal["float16"] = "float16"
    stored: Stored = "map"
    feature_shape: tuple[int, int, int]
    plan: tuple[Layer, ...]
    n_heads: Annotated[int, msgspec.Meta(ge=1, le=MAX_HEADS)] = 1  # that answer by the mean of their probabilities
    mirror: bool = False  # whether they answer by the mean over the photo and its mirror image
    head_sha256: str = ""
    finetuned: Block | None = None  # block.safetensors holds, for each head, this block's convolutions
    block_sha256: str = ""
    calibration: Calibration | None = None  # a run of an older imgreg has none

    @property
    def preprocessing_setting(self) -> Preprocessing:
        """The preprocessing as the settings name it."""
        return next(setting for setting, name in PREPROCESSINGS.items() if name == self.preprocessing)


@dataclass(frozen=True)
class SavedHead:
    """A head read back."""

    card: ModelCard
    heads: tuple[Arrays, ...]
    calibration: CalibrationArrays | None = None
    blocks: tuple[Arrays, ...] = ()  # of each head the convolutions fine-tuned with it, if they were

    @property
    def temperature(self) -> float:
        """What predict divides the logarithms of the probabilities by."""
        return self.card.calibration.temperature if self.card.calibration else 1.0


def save_head(folder: Path, *, card: ModelCard, heads: Sequence[Arrays], blocks: Sequence[Arrays] = ()) -> None:
    data = save({name: np.ascontiguousarray(array) for name, array in joined(heads).items()})
    (folder / "head.safetensors").write_bytes(data)
    card = msgspec.structs.replace(card, head_sha256=hashlib.sha256(data).hexdigest())
    if blocks:
        data = save({name: np.ascontiguousarray(array) for name, array in joined(blocks).items()})
        (folder / BLOCK_FILE).write_bytes(data)
        card = msgspec.structs.replace(
            card, finetuned=block_of(blocks[0]), block_sha256=hashlib.sha256(data).hexdigest()
        )
    (folder / "model.json").write_bytes(msgspec.json.format(msgspec.json.encode(card)) + b"\n")


def load_card(folder: Path) -> ModelCard:
    """Read a run's model.json. raises ArtefactError saying what is wrong with it"""
    refuse_changed(folder, ("model.json",))
    try:
        card = msgspec.json.decode(_read(folder, "model.json"), type=ModelCard)
    except msgspec.ValidationError as error:
        raise ArtefactError(
            f"{folder}/model.json: not readable by this version of imgreg: {error}. Train the run again."
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ArtefactError(f"{folder}/model.json: not valid JSON ({error}). Train the run again.") from error
    _refuse_contradictions(folder, card)
    return card


def load_head(folder: Path) -> SavedHead:
    """Read a run's head. raises ArtefactError naming the file and what is wrong with it"""
    card = load_card(folder)
    heads = _arrays(folder, "head.safetensors", [_expected_shapes(card)] * card.n_heads, sha256=card.head_sha256)
    blocks: tuple[Arrays, ...] = ()
    if card.finetuned is not None:
        blocks = _arrays(folder, BLOCK_FILE, [tuned_shapes(card.finetuned)] * card.n_heads, sha256=card.block_sha256)
    arrays = None
    if card.calibration:
        arrays = load_calibration(folder, card.calibration, n_channels=card.feature_shape[-1])
    return SavedHead(card, heads, arrays, blocks)


def _arrays(
    folder: Path, file: str, shapes: Sequence[Mapping[str, tuple[int, ...]]], *, sha256: str
) -> tuple[Arrays, ...]:
    """Read arrays that were saved together, for each head those of these shapes. raises ArtefactError"""
    expected = joined(shapes)
    at_most = _HEADER_BYTES + 4 * sum(math.prod(shape) for shape in expected.values())
    data = _read(folder, file, at_most=at_most)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ArtefactError(
            f"{folder}/{file}: SHA-256 differs from model.json. The file was damaged or replaced: train the run again."
        )
    try:
        weights = load(data)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{folder}/{file}: {error}.") from error
    found = {name: array.shape for name, array in weights.items()}
    if found != expected:
        raise ArtefactError(f"{folder}/{file}: found arrays {found}, expected {expected}.")
    for name, array in weights.items():
        if array.dtype != np.float32 or not np.isfinite(array).all() or (name.endswith("variance") and array.min() < 0):
            raise ArtefactError(
                f"{folder}/{file}: {name} ({array.dtype}) contains NaN, infinity or values out of range. "
                "The file was damaged: train the run again."
            )
    return separated(weights, n_heads=len(shapes))


def _read(folder: Path, name: str, *, at_most: int = _HEADER_BYTES) -> bytes:
    """A stranger's file is not read beyond what it may have."""
    try:
        return read_regular(folder / name, at_most=at_most)
    except OSError as error:
        raise ArtefactError(
            f"{folder} is not a run: cannot read {error.filename} ({error.strerror}). `imgreg runs` lists the runs."
        ) from error


def _refuse_contradictions(folder: Path, card: ModelCard) -> None:
    dense = [layer for layer in card.plan if layer.kind == "dense"]
    unknown = {layer.function for layer in card.plan if layer.kind == "activation"} - ACTIVATIONS.keys()
    if card.feature_shape != stored_shape(card.image_size, card.stored):
        found = f"image_size {card.image_size} (stored: {card.stored}), but feature_shape {card.feature_shape}"
    elif not dense or dense[-1].units != _n_outputs(card):
        units = dense[-1].units if dense else 0
        found = f"{len(card.classes)} classes, but a last layer of {units} units ({card.plan[-1].function})"
    elif unknown:
        found = f"unknown activation {unknown.pop()!r}"
    elif card.calibration and len(card.calibration.n_held_out) != len(card.classes):
        found = f"held-out scores of {len(card.calibration.n_held_out)} classes, but {len(card.classes)} classes"
    elif _without_references(card.calibration):
        found = f"a novelty threshold, but fewer than {MIN_REFERENCES} references"
    elif card.finetuned and (card.stored != "map" or any(i.kind == "instance_normalization" for i in card.plan)):
        found = f"finetuned {card.finetuned} with stored {card.stored}, or with an instance normalization"
    elif odd := _out_of_order(card.plan) or _undivided(card.plan):
        found = odd
    elif len(set(card.classes)) < max(len(card.classes), 2):
        found = f"classes {', '.join(card.classes)[:200]!r}"
    else:
        return
    raise ArtefactError(
        f"{folder}/model.json is inconsistent: {found}. It was modified or damaged: train the run again."
    )


def _n_outputs(card: ModelCard) -> int | None:
    """Units that the output layer must have; None if it cannot have so many classes."""
    if card.plan[-1].function == "sigmoid":
        return 1 if len(card.classes) == 2 else None
    return len(card.classes)


def _out_of_order(plan: tuple[Layer, ...]) -> str:
    """Words on a plan that is none of plan_head's: what it leads to is no head. Empty if it is one."""
    kinds = [layer.kind for layer in plan]
    pools = [place for place, kind in enumerate(kinds) if kind in POOLS]
    expected = [place for place, kind in enumerate(kinds) if kind == "instance_normalization"] + pools
    if len(pools) != 1 or expected != list(range(len(expected))):
        return f"layers that start with {', '.join(kinds[:3])}"
    if kinds[-2:] != ["dense", "activation"] or plan[-1].function not in ("softmax", "sigmoid"):
        return f"layers that end with {', '.join(kinds[-2:])}"
    if plan[-1].name != "probabilities":
        return f"an output layer called {plan[-1].name!r}"
    if len({layer.name for layer in plan}) < len(plan):
        return "two layers with the same name"
    for layer in plan:
        if (needed := NEEDS.get(layer.kind)) and getattr(layer, needed) is None:
            return f"no {needed} in layer {layer.name}"
    return ""


def _without_references(calibration: Calibration | None) -> bool:
    """Whether there is a distance beyond which photos are unlike the references, but too few of these."""
    return (
        calibration is not None
        and calibration.novelty_threshold is not None
        and calibration.n_references < MIN_REFERENCES
    )


def _undivided(plan: tuple[Layer, ...]) -> str:
    """Words on a group normalization whose groups do not divide the units before it; empty if there is none."""
    units = 0
    for layer in plan:
        units = layer.units or units
        if layer.kind == "group_normalization" and (not units or units % (layer.groups or 1)):
            return f"{layer.groups} groups for {units} units in layer {layer.name}"
    return ""


def _expected_shapes(card: ModelCard) -> dict[str, tuple[int, ...]]:
    height, width, channels = card.feature_shape
    size = channels
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in card.plan:
        if layer.kind == "flatten":
            size = height * width * channels
        elif layer.kind == "flatten+max":
            size = height * width * channels + channels
        elif layer.kind == "dense" and layer.units is not None:
            shapes[f"{layer.name}/kernel"], shapes[f"{layer.name}/bias"] = (size, layer.units), (layer.units,)
            size = layer.units
        elif layer.kind == "instance_normalization":
            shapes |= {f"{layer.name}/{array}": (channels,) for array in ARRAYS[layer.kind]}
        elif layer.kind in ARRAYS:
            shapes |= {f"{layer.name}/{array}": (size,) for array in ARRAYS[layer.kind]}
    return shapes
