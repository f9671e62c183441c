"""int8 against bfloat16 and float32: how fast, how alike, and what it costs:

usage: python benchmarks/int8.py [--photos N] [--calibration N] [--ranges FOLDER] DATA ...

needs: pip install nncf. Bundled starter weights at their own image size. The base is quantized after training by
NNCF, with the ranges of its activations from a fixed set of pictures, by default the bundled leaves, and for
comparison from the first photos of each DATA itself. Rates take turns, three rounds. Every variant describes --photos
photos of each DATA at most; a logistic regression on the flattened features is cross-validated in five folds, the
same for each, and every photo's loss is paired with that of float32 (95 % interval of the mean difference). Prints
JSON lines.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from imgreg.analysis.logistic_regression import fit_logistic_regression
from imgreg.config import Base
from imgreg.data.decode import decode_file
from imgreg.features.export import export_base, find_export
from imgreg.lazy_imports import load_openvino
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.training.backbone import Backbone

LEAVES = Path(__file__).parents[1] / "datasets" / "leaves"
N_TIMED, ROUNDS, FOLDS = 60, 3, 5


def photos_of(data: Path, size_px: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, size, size, 3) uint8, spread evenly over the classes, and their labels."""
    files = sorted(path for path in data.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    classes = sorted({path.parent.name for path in files})
    rows = []
    for label, name in enumerate(classes):
        own = [path for path in files if path.parent.name == name]
        chosen = own[:: max(1, len(own) * len(classes) // n)][: n // len(classes)]
        rows += [(decode_file(path, size_px=size_px), label) for path in chosen]
    order = np.random.default_rng(0).permutation(len(rows))
    return np.stack([rows[i][0] for i in order]), np.array([rows[i][1] for i in order])


class Variant:
    """A compiled base, one photo a request, as many at once as there are cores."""

    def __init__(self, network: Any, precision: str) -> None:
        ov = load_openvino()
        hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "THROUGHPUT"}
        self._queue = ov.AsyncInferQueue(ov.Core().compile_model(network, "CPU", hints))

    def __call__(self, photos: np.ndarray) -> np.ndarray:
        found: list[Any] = [None] * len(photos)

        def keep(request: Any, row: int) -> None:
            found[row] = request.get_output_tensor(0).data[0].astype(np.float16)

        self._queue.set_callback(keep)
        for row, photo in enumerate(photos):
            self._queue.start_async({0: photo[None]}, row)
        self._queue.wait_all()
        return np.stack(found)


def losses_of(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross-validated loss of each photo, and whether it was right."""
    flat = features.reshape(len(features), -1).astype(np.float32)
    own, right = np.empty(len(labels)), np.empty(len(labels), bool)
    fold = np.arange(len(labels)) % FOLDS
    for number in range(FOLDS):
        out = fold == number
        fit = fit_logistic_regression(flat[~out], labels[~out])
        predicted = fit.probabilities(flat[out])
        own[out], right[out] = predicted[np.arange(out.sum()), labels[out]], predicted.argmax(axis=1) == labels[out]
    return -np.log(own.clip(1e-12)), right


def quantized(network: Any, pictures: np.ndarray) -> tuple[Any, float]:
    import nncf

    began = time.monotonic()
    dataset = nncf.Dataset([picture[None] for picture in pictures])
    return nncf.quantize(network, dataset, subset_size=len(pictures)), time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--calibration", type=int, default=200)
    parser.add_argument("--ranges", type=Path, default=LEAVES)
    given = parser.parse_args()
    base = Backbone(Base(weights="starter"), watcher=Watcher())
    path = find_export(cache_folder(), base.weights.sha256) or export_base(base.weights, cache=cache_folder())
    core, size_px = load_openvino().Core(), base.image_size

    def network() -> Any:
        model = core.read_model(path)
        model.reshape([1, size_px, size_px, 3])
        return model

    fixed, seconds = quantized(network(), photos_of(given.ranges, size_px, given.calibration)[0])
    variants = {
        "float32": Variant(network(), "f32"),
        "bfloat16": Variant(network(), "bf16"),
        f"int8 ({given.ranges.name})": Variant(fixed, "f32"),
    }
    print(json.dumps({"size_px": size_px, "calibration_seconds": round(seconds, 1)}), flush=True)
    timed, rates = photos_of(given.data[0], size_px, N_TIMED)[0], {name: list[float]() for name in variants}
    for _ in range(ROUNDS):
        for name, variant in variants.items():
            began = time.monotonic()
            variant(timed)
            rates[name].append(len(timed) / (time.monotonic() - began))
    print(json.dumps({"photos_per_second": {name: round(median(each), 1) for name, each in rates.items()}}), flush=True)
    for data in given.data:
        photos, labels = photos_of(data, size_px, given.photos)
        by_own, _ = quantized(network(), photos[: given.calibration])
        described = {name: variant(photos) for name, variant in variants.items()}
        described["int8 (own photos)"] = Variant(by_own, "f32")(photos)
        reference = described["float32"].reshape(len(photos), -1).astype(np.float32)
        of_reference, right_of_reference = losses_of(described["float32"], labels)
        for name, features in described.items():
            flat = features.reshape(len(photos), -1).astype(np.float32)
            norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(reference, axis=1)
            cosines = (flat * reference).sum(axis=1) / norms
            losses, right = losses_of(features, labels)
            difference = losses - of_reference
            half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
            shown = {"data": data.name, "n": len(labels), "variant": name}
            shown |= {
                "cosine_min": round(float(cosines.min()), 5),
                "cosine_median": round(float(np.median(cosines)), 5),
            }
            shown |= {"loss": round(float(losses.mean()), 4), "accuracy": round(float(right.mean()), 4)}
            shown |= {"difference": [round(float(difference.mean() + s * half), 4) for s in (0, -1, 1)]}
            shown |= {"flipped": int((right != right_of_reference).sum())}
            print(json.dumps(shown), flush=True)


if __name__ == "__main__":
    main()
