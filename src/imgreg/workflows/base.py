"""The frozen base that a command settled on."""

from __future__ import annotations

from functools import cached_property

from imgreg.config import Base
from imgreg.features.engines import Engine, choose_engine, engine_version, load_engine
from imgreg.features.extract import BaseIdentity
from imgreg.features.weights import Weights, resolve_weights
from imgreg.places import cache_folder
from imgreg.workflows.watch import Watcher


class FrozenBase:
    """The base settled on: which weights, size, engine and precision. Loaded when first asked for, then kept."""

    def __init__(self, settings: Base, *, watcher: Watcher) -> None:
        notes: list[str] = []

        def say(line: str) -> None:
            notes.append(line)
            watcher.say(line)

        self._watcher = watcher
        self.weights = resolve_weights(settings.weights)
        if self.weights.note:
            say(self.weights.note)
        self.engine_name, self.precision = choose_engine(settings, say=say)
        self.image_size = settings.image_size or self.weights.image_size
        self.stored = settings.stored
        self.notes = tuple(notes)

    @property
    def identity(self) -> BaseIdentity:
        version = engine_version(self.engine_name)
        return BaseIdentity(self.weights.sha256, self.image_size, version, self.precision, self.stored)

    @cached_property
    def engine(self) -> Engine:
        self._watcher.step("loading the base", 0, 1, "")
        engine = load_engine(
            self.engine_name,
            self.precision,
            weights_sha256=self.weights.sha256,
            find_weights=self._weights,
            size_px=self.image_size,
            cache=cache_folder(),
        )
        self._watcher.step("loading the base", 1, 1, "")
        return engine

    def _weights(self) -> Weights:
        return self.weights
