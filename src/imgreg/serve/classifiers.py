"""Runs kept loaded, and photos through them: up to two photos per core in progress, a bounded number waiting.

In: a photo's bytes and a run's name. Out: the answer that `imgreg predict` gives. A thread takes a photo through a
bounded process of data/isolated_reading.py, which decodes it, and then through the run.
Must not know: HTTP.
"""

from __future__ import annotations

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from imgreg.api.classifier import Classifier, at_confidence, load_classifier
from imgreg.api.predict import UInt8Array, one_blas_thread, predict_decoded
from imgreg.api.prediction import Prediction
from imgreg.data import decode as decoding
from imgreg.data.isolated_reading import kept_workers
from imgreg.errors import UsageError
from imgreg.progress import Watcher
from imgreg.runs.find import newest_run

MAX_LOADED = 4  # runs; each holds VGG16 and its heads, some 100 MB
WAITING_PER_CORE = 8

R = TypeVar("R")


class FullError(Exception):
    """As many requests are at work and waiting as are let in."""


class UnknownRunError(UsageError):
    """The models folder holds no run of this name."""


class Classifiers:
    """The runs of a models folder, loaded when they are first asked; a context.

    Parameters
    ----------
    n_places : int, optional
        Requests at work and waiting at most; by default eight a core.
    """

    def __init__(self, models: Path, *, n_places: int | None = None, watcher: Watcher | None = None) -> None:
        self.models = models
        self._n_places = n_places or WAITING_PER_CORE * (os.cpu_count() or 1)
        self._n_inside = 0
        self._watcher = watcher or Watcher()
        self._loaded: OrderedDict[tuple[Path, int], Classifier] = OrderedDict()
        self._loading = asyncio.Lock()
        self._found: tuple[int, Path] | None = None  # the newest run, and when the models folder changed last
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._work: Callable[[Callable[[bytes], UInt8Array], bytes], UInt8Array] = self._stack.enter_context(
            kept_workers(decoding.__name__)
        )
        self._stack.enter_context(one_blas_thread())  # for all threads alike
        n_threads = 2 * (os.cpu_count() or 1)  # for each core one in the base, and one that decodes meanwhile
        self._threads = self._stack.enter_context(ThreadPoolExecutor(n_threads, "photo"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextmanager
    def place(self) -> Iterator[None]:
        """One request's place, held while it is read and answered. raises FullError"""
        if self._n_inside >= self._n_places:
            raise FullError
        self._n_inside += 1
        try:
            yield
        finally:
            self._n_inside -= 1

    def find(self, name: str | None) -> Path:
        """The folder of a run by its name under the models folder, the newest for None. raises UsageError"""
        if name is None:
            return self._newest()
        folder = self.models / name
        if name != Path(name).name or name.startswith(".") or not (folder / "model.json").is_file():
            raise UnknownRunError(f"no run {name!r} under {self.models.name}/.")
        return folder

    def _newest(self) -> Path:
        """Looked for again when something has come to the models folder, or gone."""
        try:
            changed = self.models.stat().st_mtime_ns
        except OSError:
            changed = 0
        if self._found is None or self._found[0] != changed:
            self._found = (changed, newest_run(self.models))
        return self._found[1]

    async def loaded(self, name: str | None) -> Classifier:
        """A run, loaded; the least recently used one is unloaded for it."""
        run = self.find(name)
        key = (run, (run / "model.json").stat().st_mtime_ns)
        async with self._loading:
            if key not in self._loaded:
                self._loaded[key] = await asyncio.to_thread(load_classifier, [run], watcher=self._watcher)
            self._loaded.move_to_end(key)
            while len(self._loaded) > MAX_LOADED:
                self._loaded.popitem(last=False)
            return self._loaded[key]

    async def predict(
        self, data: bytes, *, name: str = "photo", run: str | None = None, confidence: float | None = None
    ) -> Prediction:
        """Answer for one photo as `imgreg predict` does for a file of this name.

        Raises
        ------
        PhotoError
            With the reason why the photo cannot be read.
        UsageError
            If there is no such run, or it cannot give prediction sets at this confidence.
        ArtefactError
            If the run cannot be used.
        """
        classifier = await self.loaded(run)
        if confidence is not None:
            classifier = at_confidence(classifier, confidence)  # refused before the photo is decoded

        def answer() -> Prediction:
            pixels = self._work(partial(decoding.decode, size_px=classifier.size_px), data)
            return predict_decoded(pixels, path=Path(name), classifier=classifier)

        return await asyncio.get_running_loop().run_in_executor(self._threads, answer)

    async def decoded(self, work: Callable[[bytes], UInt8Array], data: bytes) -> UInt8Array:
        """work(data) in a bounded process. raises PhotoError"""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._work, work, data)
