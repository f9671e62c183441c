"""What runs the frozen base: one Protocol, two engines. Photos in as uint8 RGB, features out, preprocessing inside."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Base
from imgreg.errors import MachineError
from imgreg.features.weights import Weights
from imgreg.startup import load_keras

UInt8Array = NDArray[np.uint8]
Float32Array = NDArray[np.float32]

KERAS_BATCH = 32
_EXPORTED = ("base.xml", "base.bin")


class Engine(Protocol):
    """A loaded base."""

    name: str
    precision: str  # float32 or bfloat16

    def embed(self, photos: Iterable[UInt8Array]) -> Iterator[Float32Array]:
        """Describe photos by the frozen base, in order, as they come.

        photos    each (size, size, 3) uint8 RGB, 0..255, not yet preprocessed
        returns   each (size // 32, size // 32, 512) float32
        """
        ...


def choose_engine(base: Base, *, say: Callable[[str], None]) -> tuple[str, str]:
    """Settle `auto` for engine and precision without loading anything large.

    returns   (engine, precision), e.g. ("openvino", "bfloat16")
    raises    MachineError if a strict choice cannot be had on this machine
    """
    engine, precision = base.engine, base.precision
    if engine == "auto":
        if _has_gpu(say=say):
            engine = "keras"
        elif importlib.util.find_spec("openvino") is None:
            engine = "keras"
            say("OpenVINO is not installed: the base runs in Keras, which is slower on a CPU. pip install openvino")
        else:
            engine = "openvino"
    if engine == "openvino" and precision != "float32":
        has_bfloat16 = "BF16" in _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bfloat16" and not has_bfloat16:
            raise MachineError(
                "--precision bfloat16: this processor has neither AMX nor AVX512-BF16. Use --precision float32."
            )
        precision = "bfloat16" if has_bfloat16 else "float32"
    elif precision == "auto":
        precision = "bfloat16" if _has_gpu(say=say) else "float32"
    return engine, precision


def load_engine(
    engine: str,
    precision: str,
    *,
    weights_sha256: str,
    find_weights: Callable[[], Weights],
    size_px: int,
    cache: Path,
) -> Engine:
    """Load the base into an engine. Its OpenVINO form is exported by Keras once and kept under cache/base.

    find_weights   gives the weights' file; called only if no exported form is there
    """
    if engine == "keras":
        return KerasEngine(find_weights(), precision=precision)
    model = exported_base(cache, weights_sha256) or export_base(find_weights(), cache=cache)
    return OpenVinoEngine(model, precision=precision, size_px=size_px)


class OpenVinoEngine:
    """The exported base in OpenVINO, one photo a request: a photo's features do not depend on its neighbours."""

    name = "openvino"

    def __init__(self, model: Path, *, precision: str, size_px: int) -> None:
        self.precision = precision
        ov = _openvino()
        core = ov.Core()
        network = core.read_model(model)
        network.reshape([1, size_px, size_px, 3])  # a dynamic shape was seen to run at half the rate
        hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
        compiled = core.compile_model(
            network, "CPU", {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "THROUGHPUT"}
        )
        self._queue = ov.AsyncInferQueue(compiled)

    def embed(self, photos: Iterable[UInt8Array]) -> Iterator[Float32Array]:
        waiting: deque[list[Float32Array]] = deque()
        self._queue.set_callback(_keep_output)
        try:
            for photo in photos:
                slot: list[Float32Array] = []
                waiting.append(slot)
                self._queue.start_async({0: photo[None]}, slot)
                while waiting and waiting[0]:
                    yield waiting.popleft()[0]
        finally:
            self._queue.wait_all()
        for slot in waiting:
            yield slot[0]


class KerasEngine:
    """The reference, and the engine of a GPU."""

    name = "keras"

    def __init__(self, weights: Weights, *, precision: str) -> None:
        from imgreg.features.backbone import build_backbone

        self.precision = precision
        self._model = build_backbone(weights, dtype="mixed_bfloat16" if precision == "bfloat16" else "float32")

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
        yield from np.asarray(self._model.predict_on_batch(full), dtype=np.float32)[: len(batch)]


def exported_base(cache: Path, weights_sha256: str) -> Path | None:
    """The OpenVINO form of these weights if it lies in the cache undamaged."""
    folder = _export_folder(cache, weights_sha256)
    try:
        expected = json.loads((folder / "hashes.json").read_text())
        if expected == {name: _file_hash(folder / name) for name in _EXPORTED}:
            return folder / "base.xml"
    except (OSError, ValueError, AttributeError):
        return None
    return None


def export_base(weights: Weights, *, cache: Path) -> Path:
    """Export the Keras base to OpenVINO's form, whole or not at all. Imports TensorFlow."""
    from imgreg.features.backbone import build_backbone

    _openvino()
    target = _export_folder(cache, weights.sha256)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            folder = Path(temporary) / "whole"
            folder.mkdir()
            build_backbone(weights).export(str(folder / "base.xml"), format="openvino", verbose=False)
            hashes = {name: _file_hash(folder / name) for name in _EXPORTED}
            (folder / "hashes.json").write_text(json.dumps(hashes))
            if target.exists():  # damaged, or another process was faster; either way ours is whole
                shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)
    except (
        OSError,
        RuntimeError,
    ) as error:  # OpenVINO writes by itself, and raises RuntimeError where the disk is full
        if exported_base(cache, weights.sha256) is None:
            raise MachineError(
                f"{target}: the base cannot be kept there ({error}). Needed: about 60 MB. "
                "Set IMGREG_CACHE to a folder with room."
            ) from error
    return target / "base.xml"


def engine_version(engine: str) -> str:
    """What a feature's bits depend on besides weights and precision, e.g. "openvino 2026.1.0 keras 3.15.1"."""
    names = ("openvino", "keras") if engine == "openvino" else ("tensorflow", "keras")
    return " ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def _keep_output(request: Any, slot: list[Float32Array]) -> None:
    slot.append(request.get_output_tensor(0).data[0].astype(np.float32))


def _export_folder(cache: Path, weights_sha256: str) -> Path:
    return cache / "base" / f"vgg16-{weights_sha256[:32]}-keras-{importlib.metadata.version('keras')}"


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def _openvino() -> Any:
    # Its telemetry package reports to Google Analytics at import; None here makes OpenVINO use its own empty stand-in.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def _has_gpu(*, say: Callable[[str], None]) -> bool:
    if not Path("/proc/driver/nvidia/version").exists():
        return False
    load_keras()
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        return True
    say(
        "An NVIDIA driver is there, but TensorFlow finds no GPU: the base runs on the CPU. "
        "For the GPU: pip install 'tensorflow[and-cuda]'"
    )
    return False
