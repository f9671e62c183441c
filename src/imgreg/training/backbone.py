"""The frozen base that a command chose."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from imgreg.config import Base
from imgreg.errors import UsageError
from imgreg.features.blocks import LAST_LAYER
from imgreg.features.engines import (
    Engine,
    EngineName,
    EngineSettings,
    Precision,
    choose_engine,
    engine_version,
    load_engine,
)
from imgreg.features.export import find_or_export
from imgreg.features.extract import BaseIdentity, BlockWorkers
from imgreg.features.weights import Weights, resolve_weights
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.worker_pool import WorkerPool

RESCALED = (
    "Preprocessing rescale: VGG16's weights were trained on its own preprocessing, so expect a higher loss than with "
    "--preprocessing vgg16. Near-duplicates across the split are not looked for."
)


class Backbone:
    """The base of a command: weights, size, engine and precision, chosen and reported at their first use; the engine is
    loaded at its own first use."""

    def __init__(self, settings: Base, *, watcher: Watcher, pool: WorkerPool | None = None) -> None:
        """
        Parameters
        ----------
        pool : WorkerPool, optional
            Computes the features if it can; otherwise this process does.
        """
        self._settings = settings
        self.block_workers = pool if isinstance(pool, BlockWorkers) else None
        self._watcher = watcher
        self.stored = settings.stored
        self.preprocessing = settings.preprocessing

    def __getstate__(self) -> dict[str, Any]:
        """What another process gets: the base that was settled on, silent, its engine not loaded."""
        self.settle()
        assert self.identity  # kept: it names this processor's arithmetic, not the other's
        kept = {name: value for name, value in vars(self).items() if name != "engine"}
        return kept | {"_watcher": Watcher(), "block_workers": None}

    def settle(self) -> tuple[Weights, EngineName, Precision, tuple[str, ...]]:
        """Choose now, so that anything missing is reported before slow work begins.

        Returns
        -------
        weights, engine, precision, and the lines that were printed about the choice

        Raises
        ------
        UsageError
            If workers are to compute features, and the engine is not OpenVINO.
        MachineError, ArtefactError
            If the weights, engine or precision asked for are not available here.
        """
        return self._settled

    @cached_property
    def _settled(self) -> tuple[Weights, EngineName, Precision, tuple[str, ...]]:
        notes: list[str] = []

        def say(line: str) -> None:
            notes.append(line)
            self._watcher.say(line)

        weights = resolve_weights(self._settings.weights)
        if weights.note:
            say(weights.note)
        if self.preprocessing == "rescale":
            say(RESCALED)
        engine_name, precision = choose_engine(self._settings, say=say)
        if self.block_workers is not None and engine_name != "openvino":
            raise UsageError("--ray computes features in OpenVINO. Omit --engine, or use --engine openvino.")
        return weights, engine_name, precision, tuple(notes)

    @property
    def weights(self) -> Weights:
        return self._settled[0]

    @property
    def engine_name(self) -> EngineName:
        return self._settled[1]

    @property
    def precision(self) -> Precision:
        return self._settled[2]

    @property
    def notes(self) -> tuple[str, ...]:
        """The messages about the choice of weights, for the record."""
        return self._settled[3]

    @property
    def image_size(self) -> int:
        return self._settings.image_size or self.weights.image_size

    @cached_property
    def identity(self) -> BaseIdentity:
        version = engine_version(self.engine_name, self.precision)
        return BaseIdentity(
            self.weights.sha256, self.image_size, version, self.precision, self.stored, self.preprocessing
        )

    @cached_property
    def engine(self) -> Engine:
        """The engine that gives the base's output, loaded at the first use."""
        self._watcher.step("loading VGG16", 0, 1, "")
        engine = self.engine_cut_at(LAST_LAYER)
        self._watcher.step("loading VGG16", 1, 1, "")
        return engine

    def engine_or_workers(self, layer: str = LAST_LAYER) -> Engine | BlockWorkers:
        """What computes a layer's output: workers on other machines, if there are any, or an engine of this process.

        Workers find the exported base in the cache.
        """
        if self.block_workers is None:
            return self.engine if layer == LAST_LAYER else self.engine_cut_at(layer)
        find_or_export(
            self.weights,
            cache=cache_folder(),
            preprocessing=self.preprocessing,
            int8=self.precision == "int8",
            on_picture=self._watcher.stage("measuring ranges for int8"),
        )
        return self.block_workers

    def engine_cut_at(self, layer: str) -> Engine:
        """Load an engine that gives an inner layer's output."""
        settings = EngineSettings(
            self.engine_name, self.precision, self.image_size, preprocessing=self.preprocessing, layer=layer
        )
        weights = self.weights
        return load_engine(
            settings,
            weights_sha256=weights.sha256,
            find_weights=lambda: weights,
            cache=cache_folder(),
            on_picture=self._watcher.stage("measuring ranges for int8"),
        )
