"""What runs the frozen base: one Protocol, two engines. Photos in as uint8 RGB, features out, preprocessing inside."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from imgreg.errors import MachineError
from imgreg.features.blocks import LAST_LAYER, Arrays
from imgreg.features.export import arrays_intact, export_base, find_export
from imgreg.features.int8 import RANGES_VERSION
from imgreg.features.openvino_blocks import with_blocks
from imgreg.features.processor import PRECISION_HINTS, convolution_kernel, has_bfloat16, has_gpu, has_int8
from imgreg.lazy_imports import load_openvino

if TYPE_CHECKING:
    from imgreg.config import Base
    from imgreg.features.backbone import Preprocessing
    from imgreg.features.weights import Weights

UInt8Array = NDArray[np.uint8]
Float32Array = NDArray[np.float32]

EngineName = Literal["openvino", "keras"]
Precision = Literal["float32", "bfloat16", "int8"]

KERAS_BATCH = 32


class Engine(Protocol):
    """A loaded base."""

    name: str
    precision: Precision

    def embed(self, photos: Iterable[UInt8Array]) -> Iterator[Float32Array]:
        """Describe photos by the frozen base, in order, as they come. Several threads may do so at once.

        Parameters
        ----------
        photos : iterable of array
            Each (size, size, 3) uint8 RGB, 0..255, not yet preprocessed.

        Returns
        -------
        (size // 32, size // 32, 512) float32
            For each photo.
        """
        ...


def choose_engine(base: Base, *, say: Callable[[str], None]) -> tuple[EngineName, Precision]:
    """Settle `auto` for engine and precision without loading anything large.

    Returns
    -------
    (engine, precision)
        e.g. ("openvino", "bfloat16").

    Raises
    ------
    MachineError
        If a strict choice is not available on this machine.
    """
    engine = _fastest(say=say) if base.engine == "auto" else base.engine
    if base.precision == "int8" and engine != "openvino":
        raise MachineError("--precision int8: only OpenVINO computes in int8. Use --engine openvino.")
    if base.precision == "int8" and not has_int8():
        raise MachineError("--precision int8: this processor has neither VNNI nor AMX. Use --precision float32.")
    if base.precision != "auto" and (engine, base.precision) != ("openvino", "bfloat16"):
        return engine, base.precision
    if engine == "keras":
        return engine, "bfloat16" if has_gpu(say=say) else "float32"
    if base.precision == "bfloat16" and not has_bfloat16():
        raise MachineError(
            "--precision bfloat16: this processor has neither AMX nor AVX512-BF16. Use --precision float32."
        )
    return engine, "bfloat16" if has_bfloat16() else "float32"


def _fastest(*, say: Callable[[str], None]) -> EngineName:
    if has_gpu(say=say):
        return "keras"
    if importlib.util.find_spec("openvino") is None:
        say("OpenVINO is not installed: VGG16 runs in Keras, which is slower on a CPU. pip install openvino")
        return "keras"
    return "openvino"


@dataclass(frozen=True)
class EngineSettings:
    """What an engine computes, and how.

    Attributes
    ----------
    size_px : int
        Width and height of the photos.
    one_photo : bool
        Every core works on the same photo: fastest for one, slower for many.
    n_threads : int
        Of OpenVINO; 0 for one a core.
    layer : str
        The layer whose output is given: the last one, or the layer before a fine-tuned block.
    blocks : tuple of Arrays
        Fine-tuned convolutions, each in place of the base's. Each photo then gives (1 + n_blocks, h, w, 512), first by
        the base as it is, then with each of them.
    """

    engine: EngineName
    precision: Precision
    size_px: int
    preprocessing: Preprocessing = "vgg16"
    one_photo: bool = False
    n_threads: int = 0
    layer: str = LAST_LAYER
    blocks: tuple[Arrays, ...] = ()


def load_engine(
    settings: EngineSettings,
    *,
    weights_sha256: str,
    find_weights: Callable[[], Weights],
    cache: Path,
    on_picture: Callable[[int, int], None] | None = None,
) -> Engine:
    """Load the base into an engine. Its OpenVINO form is exported by Keras once and kept under cache/base.

    Parameters
    ----------
    find_weights : callable
        Gives the weights' file; called only if no exported form is there.
    on_picture : callable, optional
        Called with (pictures done, pictures) while the ranges of int8 are measured.
    """
    if settings.engine == "keras":
        return KerasEngine(find_weights(), settings)
    preprocessing, int8 = settings.preprocessing, settings.precision == "int8"
    kept = find_export(cache, weights_sha256, preprocessing=preprocessing, int8=int8)
    if kept and (engine_of_kept := _load_kept(kept, settings)):
        return engine_of_kept
    model = export_base(find_weights(), cache=cache, preprocessing=preprocessing, int8=int8, on_picture=on_picture)
    return OpenVinoEngine(model, settings)


class OpenVinoEngine:
    """The exported base in OpenVINO, one photo a request: a photo's features do not depend on its neighbours."""

    name = "openvino"

    def __init__(self, model: Path, settings: EngineSettings) -> None:
        self.precision = settings.precision
        ov = load_openvino()
        core = ov.Core()
        network = core.read_model(model)
        size_px = settings.size_px
        network.reshape([1, size_px, size_px, 3])  # a dynamic shape was seen to run at half the rate
        if settings.layer != LAST_LAYER or settings.blocks:
            network = with_blocks(network, layer=settings.layer, blocks=settings.blocks)
        hints = {
            "INFERENCE_PRECISION_HINT": PRECISION_HINTS[settings.precision],
            "INFERENCE_NUM_THREADS": settings.n_threads,
            "ENABLE_CPU_PINNING": settings.n_threads == 0,  # else the processes of a machine share their first cores
            "PERFORMANCE_HINT": "LATENCY" if settings.one_photo else "THROUGHPUT",
        }
        self._compiled = core.compile_model(network, "CPU", hints)
        self._idle: deque[Any] = deque()  # queues; each call of embed takes one, so that several threads may call it

    def embed(self, photos: Iterable[UInt8Array]) -> Iterator[Float32Array]:
        waiting: deque[list[Float32Array]] = deque()
        try:
            queue = self._idle.pop()
        except IndexError:
            queue = load_openvino().AsyncInferQueue(self._compiled)
            queue.set_callback(_keep_output)
        try:
            for photo in photos:
                slot: list[Float32Array] = []
                waiting.append(slot)
                queue.start_async({0: photo[None]}, slot)
                while waiting and waiting[0]:
                    yield waiting.popleft()[0]
        finally:
            queue.wait_all()
            self._idle.append(queue)
        for slot in waiting:
            yield slot[0]


class KerasEngine:
    """The reference, and the engine of a GPU."""

    name = "keras"

    def __init__(self, weights: Weights, settings: EngineSettings) -> None:
        from imgreg.features.backbone import build_backbone

        self.precision = settings.precision
        self._lock = Lock()
        self._model = build_backbone(
            weights,
            dtype="mixed_bfloat16" if settings.precision == "bfloat16" else "float32",
            preprocessing=settings.preprocessing,
            layer=settings.layer,
            blocks=settings.blocks,
        )

    def embed(self, photos: Iterable[UInt8Array]) -> Iterator[Float32Array]:
        batch: list[UInt8Array] = []
        for photo in photos:
            batch.append(photo)
            if len(batch) == KERAS_BATCH:
                yield from self._embed_batch(batch)
                batch = []
        if batch:
            yield from self._embed_batch(batch)

    def _embed_batch(self, batch: list[UInt8Array]) -> Iterator[Float32Array]:
        full = np.zeros((KERAS_BATCH, *batch[0].shape), np.uint8)  # one shape: TensorFlow compiles once
        full[: len(batch)] = batch
        with self._lock:
            features = self._model.predict_on_batch(full)
        yield from np.asarray(features, dtype=np.float32)[: len(batch)]


def _load_kept(model: Path, settings: EngineSettings) -> OpenVinoEngine | None:
    """Load an exported form while its arrays are hashed, which takes as long; None if they are damaged."""
    with ThreadPoolExecutor(1) as pool:
        intact = pool.submit(arrays_intact, model)
        try:
            engine = OpenVinoEngine(model, settings)
        except RuntimeError:  # OpenVINO's, for a file cut short
            if intact.result():
                raise
            return None
        return engine if intact.result() else None


def engine_version(engine: EngineName, precision: Precision) -> str:
    """What a feature's bits depend on besides weights and precision, the kind of processor included.

    Returns
    -------
    str
        E.g. "openvino 2026.1.0 keras 3.15.1 brgconv_avx512_f32".
    """
    names = ("openvino", "keras") if engine == "openvino" else ("tensorflow", "keras")
    versions = [f"{name} {importlib.metadata.version(name)}" for name in names]
    if engine == "openvino":
        versions.append(convolution_kernel(precision))
    if precision == "int8":
        versions.append(f"ranges {RANGES_VERSION}")
    return " ".join(versions)


def _keep_output(request: Any, slot: list[Float32Array]) -> None:
    slot.append(request.get_output_tensor(0).data[0].astype(np.float32))
