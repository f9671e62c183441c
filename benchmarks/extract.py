"""The frozen base: Keras fp32 as the blog runs it, its peers on ready arrays, and imgreg from files to features.

usage: python benchmarks/extract.py [SIZE_PX]        (default 128)

Every peer runs the same VGG16 convolutions on the same pixels in this process, in turn, five times; medians, and
ratios to Keras fp32. Those not installed are left out and named: pip install -e '.[peers]'. bfloat16 that the
processor lacks is left out too, TensorFlow's excepted, which emulates it. The ceilings are matrix products measured
in the same run.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from drawn import draw_sample
from timing import medians_in_turn, seconds, show

from imgreg.config import Augmentation
from imgreg.data.augment import Augmenter
from imgreg.data.index import index_photos
from imgreg.features.cache import FeatureCache
from imgreg.features.engines import EngineSettings, engine_version, load_engine
from imgreg.features.extract import BaseIdentity, FeatureSource, extract
from imgreg.features.weights import resolve_weights
from imgreg.lazy_imports import load_keras, load_openvino
from imgreg.paths import cache_folder

N_PHOTOS, N_SLOW = 32, 8  # photos a round; fewer where bfloat16 is emulated
BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
WEIGHTS = resolve_weights("starter")
Work = Callable[[], object]


def main(size_px: int) -> None:
    load_keras()
    has_bfloat16 = "BF16" in load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    photos = np.random.default_rng(0).integers(0, 256, (N_PHOTOS, size_px, size_px, 3), dtype=np.uint8)
    works: dict[str, tuple[int, Work]] = {"Keras fp32": (N_PHOTOS, _engine("keras", "float32", photos))}
    works["TensorFlow mixed_bfloat16"] = _whole_or_few(has_bfloat16, photos, lambda p: _engine("keras", "bfloat16", p))
    missing = []
    try:
        works["PyTorch fp32"] = (N_PHOTOS, _pytorch(photos, bfloat16=False))
        works["PyTorch bf16"] = _whole_or_few(has_bfloat16, photos, lambda p: _pytorch(p, bfloat16=True))
    except ImportError:
        missing.append("PyTorch")
    try:
        works["ONNX Runtime fp32"] = (N_PHOTOS, _onnxruntime(photos))
    except ImportError:
        missing.append("ONNX Runtime")
    works["OpenVINO fp32"] = (N_PHOTOS, _engine("openvino", "float32", photos))
    if has_bfloat16:
        works["OpenVINO bf16"] = (N_PHOTOS, _engine("openvino", "bfloat16", photos))
    with tempfile.TemporaryDirectory() as temporary:
        precision = "bfloat16" if has_bfloat16 else "float32"
        works[f"imgreg from files ({precision})"] = (N_PHOTOS, _from_files(Path(temporary), size_px, precision))
        taken = medians_in_turn({name: work for name, (_, work) in works.items()})
    rates = {name: works[name][0] / value for name, value in taken.items()}
    ceilings = _ceilings(has_bfloat16)

    gflop = 30.7 * (size_px / 224) ** 2  # multiply-adds of VGG16's convolutions at 224 px, times two
    base, ours = rates["Keras fp32"], next(name for name in rates if name.startswith("imgreg"))
    own_base = rates["OpenVINO bf16" if has_bfloat16 else "OpenVINO fp32"]
    show(
        {
            "size_px": size_px,
            "photos_per_second": {name: round(rate, 1) for name, rate in rates.items()},
            "to_keras": {name: round(rate / base, 2) for name, rate in rates.items()},
            "files_to_base": round(rates[ours] / own_base, 2),
            "ceilings_gflops": {name: round(value) for name, value in ceilings.items()},
            "missing": missing,
        },
        *(
            f"{name:28} {rate:6.1f} photos/s {rate * gflop:6.0f} GFLOP/s {rate / base:5.2f} x Keras fp32, "
            f"{rate * gflop / ceilings['fp32']:4.0%} of fp32's ceiling"
            for name, rate in rates.items()
        ),
        *(f"matrix product {name:13} {value:20.0f} GFLOP/s" for name, value in ceilings.items()),
        *(f"not installed: {name}" for name in missing),
    )


def _whole_or_few(fast: bool, photos: np.ndarray, make: Callable[[np.ndarray], Work]) -> tuple[int, Work]:
    n = N_PHOTOS if fast else N_SLOW
    return n, make(photos[:n])


def _engine(name: Any, precision: Any, photos: np.ndarray) -> Work:
    engine = load_engine(
        EngineSettings(name, precision, photos.shape[1]),
        weights_sha256=WEIGHTS.sha256,
        find_weights=lambda: WEIGHTS,
        cache=cache_folder(),
    )
    return lambda: list(engine.embed(photos))


def _kernels() -> list[tuple[np.ndarray, np.ndarray]]:
    from imgreg.features.backbone import build_backbone

    convolutions = [layer for layer in build_backbone(WEIGHTS).get_layer("vgg16").layers if layer.weights]
    return [tuple(layer.get_weights()) for layer in convolutions]


def _pytorch(photos: np.ndarray, *, bfloat16: bool) -> Work:
    import torch

    layers: list[torch.nn.Module] = []
    kernels = iter(_kernels())
    for channels, count in BLOCKS:
        for _ in range(count):
            kernel, bias = next(kernels)
            layer = torch.nn.Conv2d(kernel.shape[2], channels, 3, padding=1)
            layer.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
            layer.bias.data = torch.from_numpy(bias)
            layers += [layer, torch.nn.ReLU(inplace=True)]
        layers.append(torch.nn.MaxPool2d(2))
    model = torch.nn.Sequential(*layers).eval().to(memory_format=torch.channels_last)
    if bfloat16:
        model = model.to(torch.bfloat16)

    def work() -> None:
        with torch.inference_mode():
            for start in range(0, len(photos), 32):
                batch = torch.from_numpy(_preprocessed(photos[start : start + 32]).transpose(0, 3, 1, 2).copy())
                batch = batch.to(memory_format=torch.channels_last)
                model(batch.to(torch.bfloat16) if bfloat16 else batch).float().numpy()

    return work


def _onnxruntime(photos: np.ndarray) -> Work:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    nodes, arrays, last = [], [], "pixels"
    kernels = iter(_kernels())
    for block, (_, count) in enumerate(BLOCKS):
        for number in range(count):
            kernel, bias = next(kernels)
            name = f"b{block}c{number}"
            arrays += [numpy_helper.from_array(kernel.transpose(3, 2, 0, 1).copy(), f"{name}k")]
            arrays += [numpy_helper.from_array(bias, f"{name}b")]
            nodes.append(helper.make_node("Conv", [last, f"{name}k", f"{name}b"], [name], pads=[1] * 4))
            nodes.append(helper.make_node("Relu", [name], [f"{name}r"]))
            last = f"{name}r"
        nodes.append(helper.make_node("MaxPool", [last], [f"b{block}"], kernel_shape=[2, 2], strides=[2, 2]))
        last = f"b{block}"
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, *photos.shape[1:3]])
    features = helper.make_tensor_value_info(last, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "vgg16", [pixels], [features], arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def work() -> None:
        for photo in photos:  # one at a time was seen to be as fast as batches
            session.run(None, {"pixels": _preprocessed(photo[None]).transpose(0, 3, 1, 2)})

    return work


def _preprocessed(photos: np.ndarray) -> np.ndarray:
    import keras

    return keras.applications.vgg16.preprocess_input(photos.astype(np.float32))


def _from_files(root: Path, size_px: int, precision: Any) -> Work:
    """Half clean photos, half augmented views, as ImageDataGenerator makes them: decode to features on disk."""
    draw_sample(root / "photos", count=N_PHOTOS // 4, seed=0)
    files = index_photos(root / "photos", max_bad=0).photos
    augmenter = Augmenter(Augmentation(backend="keras", views=1), seed=0, size_px=size_px)
    identity = BaseIdentity(WEIGHTS.sha256, size_px, engine_version("openvino", precision), precision)
    engine = load_engine(
        EngineSettings("openvino", precision, size_px),
        weights_sha256=WEIGHTS.sha256,
        find_weights=lambda: WEIGHTS,
        cache=cache_folder(),
    )

    def work() -> None:
        with tempfile.TemporaryDirectory(dir=root) as cold, FeatureCache(Path(cold), say=print) as cache:
            wanted = {photo: [(0, None), (1, augmenter)] for photo in files}
            done = extract(wanted, source=FeatureSource(cache, base=identity), load=lambda: engine)
            assert done.n_computed == N_PHOTOS

    return work


def _ceilings(has_bfloat16: bool) -> dict[str, float]:
    """The best rate of a 4096 x 4096 matrix product, by TensorFlow or by NumPy's BLAS, in GFLOP/s."""
    import tensorflow as tf

    exact = np.random.default_rng(0).random((4096, 4096), dtype=np.float32)
    products: dict[str, list[Work]] = {"fp32": [lambda: tf.linalg.matmul(exact, exact).numpy(), lambda: exact @ exact]}
    if has_bfloat16:
        rounded = tf.cast(exact, tf.bfloat16)
        products["bf16"] = [lambda: tf.linalg.matmul(rounded, rounded).numpy()]
    return {
        name: 2 * 4096**3 / min(seconds(work) for work in works for _ in range(6)) / 1e9
        for name, works in products.items()
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 128)
