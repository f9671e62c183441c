"""Views of a photo: the same bytes for the same (photo, settings, seed, view), whatever the order, thread or machine.

View 0 is the photo itself. The two backends draw from the same ranges (zoom alone differs: uniform in
Keras' factor or in its inverse): `keras` is ImageDataGenerator, made to
draw from a seed of the view's own; `albumentations` is the equivalent Affine and HorizontalFlip, or a user's pipeline.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Augmentation
from imgreg.errors import ArtefactError
from imgreg.lazy_imports import load_keras

UInt8Array = NDArray[np.uint8]

_KERAS_DRAWS = threading.Lock()  # ImageDataGenerator draws from NumPy's global state


class Augmenter:
    """Makes views by one setting and seed. `digest` names everything that the bytes of a view depend on."""

    def __init__(self, settings: Augmentation, *, seed: int, size_px: int) -> None:
        """
        Parameters
        ----------
        size_px : int
            Of the photos it will see; a user's pipeline is tried on one of that size.

        Raises
        ------
        ArtefactError
            If the pipeline file cannot be loaded, fails, or changes size or type.
        """
        self._made_of = settings, seed, size_px
        settings = settings.scaled()
        described = settings.model_dump(mode="json", exclude={"views", "pipeline", "strength"})
        self._make: Callable[[UInt8Array, int], UInt8Array] | None = None
        if settings.backend == "keras":
            self._make = _keras_maker(settings)
        elif settings.backend == "albumentations":
            pipeline = _read_pipeline(Path(settings.pipeline)) if settings.pipeline else _equivalent_pipeline(settings)
            described = {"backend": "albumentations", "pipeline": pipeline}
            self._make = _albumentations_maker(pipeline, name=settings.pipeline or "albumentations", size_px=size_px)
        self.size_px = size_px
        self.described: dict[str, Any] = described
        self.digest = hashlib.sha256(json.dumps([described, seed], sort_keys=True).encode()).hexdigest()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled as its settings; the other process rebuilds it."""
        return _rebuild, (*self._made_of, self.digest)

    def view(self, photo: UInt8Array, *, sha256: str, view: int) -> UInt8Array:
        """Make view `view` of the photo with content hash `sha256`.

        Parameters
        ----------
        photo : (size, size, 3) uint8
            RGB.

        Returns
        -------
        (size, size, 3) uint8
            The photo itself for view 0.
        """
        if view == 0:
            return photo
        if self._make is None:
            raise ValueError(f"view {view} requested, but there is no augmentation")
        name = hashlib.sha256(f"{self.digest} {sha256} {view}".encode()).digest()
        return self._make(photo, int.from_bytes(name[:4], "big"))


@functools.lru_cache(8)
def _rebuild(settings: Augmentation, seed: int, size_px: int, digest: str) -> Augmenter:
    augmenter = Augmenter(settings, seed=seed, size_px=size_px)
    if augmenter.digest != digest:
        raise ArtefactError(
            f"{settings.pipeline}: the pipeline changed while imgreg was running. Run the command again."
        )
    return augmenter


def _keras_maker(settings: Augmentation) -> Callable[[UInt8Array, int], UInt8Array]:
    """source: keras 3 legacy ImageDataGenerator; affine by SciPy, spline order 1, rounded back to uint8"""
    load_keras()
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    generator = ImageDataGenerator(
        rotation_range=settings.rotation_range,
        # Keras 3 draws its x shift from height_shift_range and its y shift from width_shift_range: given crosswise,
        # the names mean what they say (tests/data/test_augment.py would notice if Keras fixed it).
        width_shift_range=settings.height_shift_range,
        height_shift_range=settings.width_shift_range,
        shear_range=settings.shear_range,
        zoom_range=settings.zoom_range,
        horizontal_flip=settings.horizontal_flip,
        fill_mode=settings.fill_mode,
    )

    def make(photo: UInt8Array, seed: int) -> UInt8Array:
        with _KERAS_DRAWS:
            before = np.random.get_state()
            drawn = generator.get_random_transform(photo.shape, seed=seed)
            np.random.set_state(before)
        moved = generator.apply_transform(photo.astype(np.float32), drawn)
        return np.asarray(np.rint(moved).clip(0, 255), dtype=np.uint8)

    return make


def _equivalent_pipeline(settings: Augmentation) -> dict[str, Any]:
    """ImageDataGenerator's settings as a serialised albumentations pipeline.

    Keras maps output to input, so its zoom z enlarges by 1/z; its shear tilts one axis only.
    """
    a = _albumentations()
    import cv2

    border = {
        "nearest": cv2.BORDER_REPLICATE,
        "reflect": cv2.BORDER_REFLECT,
        "wrap": cv2.BORDER_WRAP,
        "constant": cv2.BORDER_CONSTANT,
    }[settings.fill_mode]
    zoom, width, height = settings.zoom_range, settings.width_shift_range, settings.height_shift_range
    affine = a.Affine(
        rotate=(-settings.rotation_range, settings.rotation_range),
        translate_percent={"x": (-width, width), "y": (-height, height)},
        shear={"x": (-settings.shear_range, settings.shear_range), "y": (0.0, 0.0)},
        scale={"x": (1 / (1 + zoom), 1 / (1 - zoom)), "y": (1 / (1 + zoom), 1 / (1 - zoom))},
        keep_ratio=False,
        interpolation=cv2.INTER_LINEAR,
        border_mode=border,
        p=1.0,
    )
    flip = [a.HorizontalFlip(p=0.5)] if settings.horizontal_flip else []
    pipeline: dict[str, Any] = a.to_dict(a.Compose([affine, *flip]))
    return pipeline


def _read_pipeline(path: Path) -> dict[str, Any]:
    """A pipeline that `albumentations.save` wrote, as JSON or YAML."""
    a = _albumentations()
    data_format = "yaml" if path.suffix.lower() in (".yaml", ".yml") else "json"
    try:
        pipeline: dict[str, Any] = a.to_dict(a.load(path, data_format=data_format))
    except Exception as error:
        raise ArtefactError(
            f"{path}: albumentations cannot load this pipeline ({type(error).__name__}: {error}). Write one with "
            "albumentations.save(pipeline, 'pipeline.json')."
        ) from error
    return pipeline


def _albumentations_maker(
    pipeline: dict[str, Any], *, name: str, size_px: int
) -> Callable[[UInt8Array, int], UInt8Array]:
    a = _albumentations()
    local = threading.local()  # a Compose holds its random state

    def make(photo: UInt8Array, seed: int) -> UInt8Array:
        if not hasattr(local, "compose"):
            local.compose = a.from_dict(pipeline)
        local.compose.set_random_seed(seed)
        try:
            made: UInt8Array = local.compose(image=photo)["image"]
        except Exception as error:
            raise ArtefactError(f"{name}: fails on a photo of shape {photo.shape}: {error}") from error
        if made.shape != photo.shape or made.dtype != np.uint8:
            raise ArtefactError(
                f"{name}: turns {photo.shape} uint8 into {made.shape} {made.dtype}. A pipeline must preserve shape "
                "and dtype: end it with a Resize to --image-size, and remove Normalize."
            )
        return np.ascontiguousarray(made)

    make(np.full((size_px, size_px, 3), 128, np.uint8), 0)
    return make


def _albumentations() -> Any:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else it asks PyPI for a newer release at import
    import albumentations

    return albumentations
