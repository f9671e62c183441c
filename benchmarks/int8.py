"""int8 against bfloat16 and float32: how fast, how alike, and what it costs:

usage: python benchmarks/int8.py [--photos N] [--size PX] [--weights W] [--ranges FOLDER ...] DATA ...

float32, bfloat16 and int8 are what `--precision` gives. For comparison, int8 with ranges from 60 photos of each of
--ranges, by default the bundled leaves. Rates take turns, three rounds. Every variant describes --photos photos of each
DATA at most; a logistic regression on the flattened features is cross-validated in five folds, the same for each, and
every photo's loss is paired with that of float32 (95 % interval of the mean difference). Prints JSON lines.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from imgreg.analysis.logistic_regression import fit_logistic_regression
from imgreg.config import Base
from imgreg.data.decode import decode_file
from imgreg.features.engines import Engine, EngineSettings, OpenVinoEngine
from imgreg.features.export import find_export
from imgreg.features.int8 import activation_ranges, quantize
from imgreg.features.processor import has_bfloat16
from imgreg.lazy_imports import load_openvino
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.training.backbone import Backbone

LEAVES = Path(__file__).parents[1] / "datasets" / "leaves"
N_TIMED, ROUNDS, FOLDS, N_FOR_RANGES = 60, 3, 5, 60


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


def described(photos: np.ndarray, engine: Engine) -> np.ndarray:
    """Features as they are stored."""
    return np.stack([features.astype(np.float16) for features in engine.embed(photos)])


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


def with_ranges_of(folder: Path, *, exact: Path, size_px: int) -> Engine:
    """int8 as in the product, but for its ranges."""
    ov = load_openvino()
    network = ov.Core().read_model(exact)
    pictures, _ = photos_of(folder, size_px, N_FOR_RANGES)
    quantize(network, ranges=activation_ranges(exact, pictures=pictures, size_px=size_px))
    with tempfile.TemporaryDirectory() as temporary:
        ov.save_model(network, Path(temporary) / "base.xml", compress_to_fp16=False)
        return OpenVinoEngine(Path(temporary) / "base.xml", EngineSettings("openvino", "int8", size_px))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--photos", type=int, default=400)
    parser.add_argument("--size", type=int)
    parser.add_argument("--weights", default="starter")
    parser.add_argument("--ranges", type=Path, nargs="*", default=[LEAVES])
    given = parser.parse_args()
    variants, size_px = {}, 0
    for precision in ("float32", *(["bfloat16"] if has_bfloat16() else []), "int8"):
        settings = Base(weights=given.weights, image_size=given.size, precision=precision, engine="openvino")
        base = Backbone(settings, watcher=Watcher())
        began = time.monotonic()
        variants[precision], size_px = base.engine, base.image_size
        print(json.dumps({"loaded": precision, "seconds": round(time.monotonic() - began, 1)}), flush=True)
        if precision == "float32":
            exact = find_export(cache_folder(), base.weights.sha256)
    assert exact is not None
    for folder in given.ranges:
        variants[f"int8, ranges from {folder.name}"] = with_ranges_of(folder, exact=exact, size_px=size_px)
    timed, rates = photos_of(given.data[0], size_px, N_TIMED)[0], {name: list[float]() for name in variants}
    for _ in range(ROUNDS):
        for name, variant in variants.items():
            began = time.monotonic()
            described(timed, variant)
            rates[name].append(len(timed) / (time.monotonic() - began))
    shown = {name: round(median(each), 1) for name, each in rates.items()}
    print(json.dumps({"size_px": size_px, "photos_per_second": shown}), flush=True)
    for data in given.data:
        photos, labels = photos_of(data, size_px, given.photos)
        for name, variant in variants.items():
            features = described(photos, variant)
            flat = features.reshape(len(photos), -1).astype(np.float32)
            losses, right = losses_of(features, labels)
            if name == "float32":
                reference, of_reference, right_of_reference = flat, losses, right
            norms = np.linalg.norm(flat, axis=1) * np.linalg.norm(reference, axis=1)
            cosines = (flat * reference).sum(axis=1) / norms
            difference = losses - of_reference
            half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
            row = {"data": data.name, "n": len(labels), "variant": name}
            row |= {"cosine_min": round(float(cosines.min()), 5), "cosine_median": round(float(np.median(cosines)), 5)}
            row |= {"loss": round(float(losses.mean()), 4), "accuracy": round(float(right.mean()), 4)}
            row |= {"difference": [round(float(difference.mean() + s * half), 4) for s in (0, -1, 1)]}
            print(json.dumps(row | {"flipped": int((right != right_of_reference).sum())}), flush=True)


if __name__ == "__main__":
    main()
