"""ONNX: model.onnx, written operator by operator from the head's plan, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgreg.export.parity import Answer
from imgreg.export.source import Dtype, Source
from imgreg.features.backbone import load_vgg16
from imgreg.features.blocks import Arrays, block_of
from imgreg.heads.forward import SMALLEST_NORM
from imgreg.heads.plan import Layer

OPSET = 20  # the first with Gelu
IR_VERSION = 10
_N_CONVOLUTIONS = (2, 2, 3, 3, 3)  # of VGG16's five blocks
_BGR_MEANS = (103.939, 116.779, 123.68)  # keras.applications.vgg16.preprocess_input
_FLOAT, _FLOAT16 = 1, 10  # onnx.TensorProto, which is imported when called
_LARGE = 1024  # values from which float16 saves space
_OPERATORS = {"relu": "Relu", "elu": "Elu", "gelu": "Gelu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


def write(source: Source, folder: Path, *, dtype: Dtype) -> None:
    """Write folder/model.onnx, checked by onnx.checker. In float16 the weights are stored so; arithmetic is float32."""
    import onnx
    from onnx import TensorProto, helper

    card = source.saved.card
    graph = _Graph(half=dtype == "float16")
    answer = _answer(graph, source)
    graph.node("Identity", answer, output="probabilities")
    size, n_classes = card.image_size, len(card.classes)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "imgreg",
            [helper.make_tensor_value_info("photos", TensorProto.UINT8, ["n", size, size, 3])],
            [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", n_classes])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="imgreg",
    )
    helper.set_model_props(model, source.metadata)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "model.onnx")


def load(folder: Path) -> Answer:
    """Load it in ONNX Runtime on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    return lambda photos: np.asarray(session.run(["probabilities"], {"photos": photos})[0])


class _Graph:
    """Nodes and initializers as they are added; tensors are known by their names."""

    def __init__(self, *, half: bool) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._half = half
        self._known: dict[str, str] = {}

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, value: Any, *, name: str = "", dtype: Any = np.float32) -> str:
        """Add an initializer; one with a name is added once."""
        from onnx import TensorProto, numpy_helper

        if name in self._known:
            return self._known[name]
        array = np.ascontiguousarray(value, dtype=dtype)
        output = stored = name or f"constant_{len(self.initializers)}"
        half = self._half and array.dtype == np.float32 and array.size >= _LARGE
        if half:
            array, stored = array.astype(np.float16), f"{output}_float16"
        self.initializers.append(numpy_helper.from_array(array, stored))
        if half:
            self.node("Cast", stored, output=output, to=TensorProto.FLOAT)
        if name:
            self._known[name] = output
        return output

    def reduce(self, operator: str, x: str, axes: Sequence[int], *, keep: bool) -> str:
        return self.node(operator, x, self.constant(axes, dtype=np.int64), keepdims=int(keep))


def _answer(graph: _Graph, source: Source) -> str:
    saved, card = source.saved, source.saved.card
    base = {
        f"{layer.name}/{part}": array
        for layer in load_vgg16(source.base).layers
        for part, array in zip(("kernel", "bias"), layer.get_weights(), strict=False)
    }
    n_frozen = int(block_of(saved.blocks[0])[-1]) - 1 if saved.blocks else len(_N_CONVOLUTIONS)
    photos = graph.node("Cast", "photos", to=_FLOAT)
    views = [photos, _mirrored(graph, photos)] if card.mirror else [photos]
    answers = []
    for view in views:
        frozen = _convolutions(graph, _preprocessed(graph, view, card.preprocessing), base, blocks=range(n_frozen))
        features = "" if saved.blocks else _as_stored(graph, frozen, card.stored)
        for number, head in enumerate(saved.heads):
            own = features
            if saved.blocks:
                tail = range(n_frozen, len(_N_CONVOLUTIONS))
                tuned = _convolutions(graph, frozen, saved.blocks[number], blocks=tail, prefix=f"head_{number + 1}/")
                own = _as_stored(graph, tuned, card.stored)
            answers.append(_head(graph, own, card.plan, head, prefix=f"head_{number + 1}/"))
    mean = answers[0] if len(answers) == 1 else graph.node("Mean", *answers)
    if saved.temperature != 1:
        bounded = graph.node("Max", mean, graph.constant(np.finfo(np.float32).tiny))
        logits = graph.node("Div", graph.node("Log", bounded), graph.constant(saved.temperature))
        mean = graph.node("Softmax", logits, axis=1)
    return mean


def _mirrored(graph: _Graph, photos: str) -> str:
    bounds = [graph.constant([n], dtype=np.int64) for n in (-1, np.iinfo(np.int64).min, 2, -1)]
    return graph.node("Slice", photos, *bounds)


def _preprocessed(graph: _Graph, photos: str, preprocessing: str) -> str:
    """(n, h, w, 3) RGB -> (n, 3, h, w), as VGG16 is given it"""
    if preprocessing == "rescale 1/255":
        x = graph.node("Div", photos, graph.constant(255.0))
    else:
        x = graph.node("Gather", photos, graph.constant([2, 1, 0], dtype=np.int64), axis=3)
        x = graph.node("Sub", x, graph.constant(_BGR_MEANS))
    return graph.node("Transpose", x, perm=[0, 3, 1, 2])


def _convolutions(graph: _Graph, x: str, arrays: Arrays, *, blocks: range, prefix: str = "vgg16/") -> str:
    for block in blocks:
        for number in range(1, _N_CONVOLUTIONS[block] + 1):
            name = f"block{block + 1}_conv{number}"
            kernel = graph.constant(arrays[f"{name}/kernel"].transpose(3, 2, 0, 1), name=f"{prefix}{name}/kernel")
            bias = graph.constant(arrays[f"{name}/bias"], name=f"{prefix}{name}/bias")
            x = graph.node("Conv", x, kernel, bias, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            x = graph.node("Relu", x)
        x = graph.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return x


def _as_stored(graph: _Graph, maps: str, stored: str) -> str:
    """(n, c, h, w) -> (n, h, w, c), pooled where only that was kept, rounded to float16"""
    x = graph.node("Transpose", maps, perm=[0, 2, 3, 1])
    if stored != "map":
        x = graph.reduce("ReduceMean" if stored == "avg" else "ReduceMax", x, [1, 2], keep=True)
    return graph.node("Cast", graph.node("Cast", x, to=_FLOAT16), to=_FLOAT)


def _head(graph: _Graph, x: str, plan: Sequence[Layer], arrays: Arrays, *, prefix: str) -> str:
    """heads/forward.py: probabilities, in ONNX's operators"""

    def array(layer: Layer, name: str) -> str:
        return graph.constant(arrays[f"{layer.name}/{name}"], name=f"{prefix}{layer.name}/{name}")

    for layer in plan:
        if layer.kind in ("flatten", "flatten+max"):
            flat = graph.node("Reshape", x, graph.constant([0, -1], dtype=np.int64))
            x = flat if layer.kind == "flatten" else _flatten_and_max(graph, x, flat, arrays, plan)
        elif layer.kind in ("avg", "max"):
            x = graph.reduce("ReduceMean" if layer.kind == "avg" else "ReduceMax", x, [1, 2], keep=False)
        elif layer.kind == "dense":
            x = graph.node("Gemm", x, array(layer, "kernel"), array(layer, "bias"))
        elif layer.kind == "activation":
            x = _activation(graph, x, layer.function)
        elif layer.kind == "scaling":
            spread = np.sqrt(arrays[f"{layer.name}/moving_variance"])
            x = graph.node("Div", graph.node("Sub", x, array(layer, "moving_mean")), graph.constant(spread))
        elif layer.kind == "batch_normalization":
            deviation = np.sqrt(arrays[f"{layer.name}/moving_variance"] + np.float32(layer.epsilon))
            scale = graph.constant(arrays[f"{layer.name}/gamma"] / deviation)
            x = graph.node("Mul", graph.node("Sub", x, array(layer, "moving_mean")), scale)
            x = graph.node("Add", x, array(layer, "beta"))
        elif layer.kind in ("layer_normalization", "group_normalization", "instance_normalization"):
            x = _normalized(graph, x, layer)
            x = graph.node("Add", graph.node("Mul", x, array(layer, "gamma")), array(layer, "beta"))
    if plan[-1].function == "sigmoid":
        x = graph.node("Concat", graph.node("Sub", graph.constant(1.0), x), x, axis=1)
    return x


def _activation(graph: _Graph, x: str, function: str | None) -> str:
    if function == "softmax":
        return graph.node("Softmax", x, axis=1)
    if function == "leaky_relu":
        return graph.node("LeakyRelu", x, alpha=0.2)
    return x if function == "linear" else graph.node(_OPERATORS[str(function)], x)


def _normalized(graph: _Graph, x: str, layer: Layer) -> str:
    if layer.kind == "instance_normalization":
        return _standardized(graph, x, [1, 2], epsilon=layer.epsilon)
    groups = graph.node("Reshape", x, graph.constant([0, layer.groups or 1, -1], dtype=np.int64))
    done = _standardized(graph, groups, [2], epsilon=layer.epsilon)
    return graph.node("Reshape", done, graph.constant([0, -1], dtype=np.int64))


def _standardized(graph: _Graph, x: str, axes: Sequence[int], *, epsilon: float | None) -> str:
    centred = graph.node("Sub", x, graph.reduce("ReduceMean", x, axes, keep=True))
    variance = graph.reduce("ReduceMean", graph.node("Mul", centred, centred), axes, keep=True)
    deviation = graph.node("Sqrt", graph.node("Add", variance, graph.constant(epsilon)))
    return graph.node("Div", centred, deviation)


def _flatten_and_max(graph: _Graph, maps: str, flat: str, arrays: Arrays, plan: Sequence[Layer]) -> str:
    """heads/forward.py: flatten_and_max"""
    most = graph.reduce("ReduceMax", maps, [1, 2], keep=False)
    after = next(layer for layer in plan if layer.kind in ("scaling", "dense"))
    n_values = len(arrays[f"{after.name}/{'kernel' if after.kind == 'dense' else 'moving_mean'}"])
    scale = graph.constant(np.sqrt(n_values / 2))
    parts = []
    for part in (flat, most):
        norm = graph.node("Max", graph.reduce("ReduceL2", part, [1], keep=True), graph.constant(SMALLEST_NORM))
        parts.append(graph.node("Div", graph.node("Mul", part, scale), norm))
    return graph.node("Concat", *parts, axis=1)
