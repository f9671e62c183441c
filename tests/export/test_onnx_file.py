"""The ONNX writer: any head, with its mirror image, temperature and fine-tuned blocks, answers as the Keras model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from imgreg.config import Head
from imgreg.data.decode import POLICY
from imgreg.export import onnx_file
from imgreg.export.parity import measure, synthetic_images
from imgreg.export.source import Source
from imgreg.features.backbone import block_arrays
from imgreg.features.stored import Stored, stored_shape
from imgreg.features.weights import resolve_weights
from imgreg.heads.build import build_head, weights_by_name
from imgreg.heads.calibration import Calibration
from imgreg.heads.keras_model import photos_to_probabilities
from imgreg.heads.network import Network
from imgreg.heads.plan import plan_head
from imgreg.heads.store import ModelCard, SavedHead

pytest.importorskip("onnxruntime", reason="imgreg[export] is not installed")
SIZE = 64  # a map of 2 x 2: at 1 x 1 an instance normalization would answer the same for every photo


@pytest.mark.parametrize(
    ("head", "stored", "mirror", "temperature", "block"),
    [
        (Head(pool="flatten+max", units=(8,), normalization="before_activation"), "map", True, 1.7, None),
        (Head(units=(8, 4), output="sigmoid", activation="leaky_relu", scaling="standardize"), "map", False, 1.0, None),
        (Head(pool="avg", units=(8,), normalization="after_dropout", normalization_kind="group", groups=2,
              activation="gelu"), "avg", False, 1.0, None),
        (Head(pool="max", units=(8,), map_normalization="instance", activation="elu"), "map", False, 1.0, None),
        (Head(pool="flatten+max", units=(8,)), "map", True, 1.0, "block5"),
    ],
    ids=["maxima", "sigmoid", "group", "instance", "fine-tuned"],
)  # fmt: skip
def test_it_answers_as_keras(tmp_path: Path, head, stored: Stored, mirror, temperature, block) -> None:
    """Two heads with moved weights, from uint8 photos; in float16 within its own tolerance, at half the size."""
    base, draw = resolve_weights("starter"), np.random.default_rng(0)
    plan = plan_head(head, n_classes=2)
    built = weights_by_name(build_head(head, feature_shape=stored_shape(SIZE, stored), n_classes=2, seed=0))
    heads = tuple(
        {
            name: (array * draw.uniform(0.8, 1.2, array.shape) + ("kernel" not in name) * 0.1).astype(np.float32)
            for name, array in built.items()
        }
        for _ in range(2)
    )
    blocks = tuple(
        {name: (array * draw.uniform(0.8, 1.2)).astype(np.float32) for name, array in block_arrays(base, block).items()}
        for _ in range(2 if block else 0)
    )
    card = ModelCard(
        classes=("a", "b"), weights="starter", weights_sha256="", image_size=SIZE, decode_policy=POLICY,
        engine="keras", precision="float32", stored=stored, feature_shape=stored_shape(SIZE, stored), plan=plan,
        n_heads=2, mirror=mirror, calibration=_calibration(temperature),
    )  # fmt: skip
    model = photos_to_probabilities(
        Network(base, plan, heads, blocks), head=head, size_px=SIZE, stored=stored, mirror=mirror,
        temperature=temperature,
    )  # fmt: skip
    images = synthetic_images(SIZE)
    expected = np.asarray(model(images))
    assert np.ptp(expected[:, 0]) > 1e-3  # otherwise any model would do
    source = Source(SavedHead(card, heads, blocks=blocks), base, None, tmp_path, {"classes": "a, b"})
    sizes = []
    for dtype in ("float32", "float16"):
        onnx_file.write(source, tmp_path, dtype=dtype)
        assert measure(onnx_file.load(tmp_path), images, expected, dtype=dtype).holds
        sizes.append((tmp_path / "model.onnx").stat().st_size)
    assert sizes[1] < 0.52 * sizes[0]


def _calibration(temperature: float) -> Calibration | None:
    if temperature == 1:
        return None
    return Calibration(temperature=temperature, n_held_out=(9, 9), n_references=0)
