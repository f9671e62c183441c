"""imgreg export: a run in the formats of other runtimes, each run there and compared with imgreg before it is kept."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from imgreg import __version__
from imgreg.api.classifier import checked_card, load_classifier, recorded_weights
from imgreg.api.keras_model import to_keras
from imgreg.api.predict import UInt8Array, photo_probabilities
from imgreg.data import decode as decoding
from imgreg.errors import ArtefactError, MachineError, UsageError
from imgreg.export.parity import Parity, measure, synthetic_images
from imgreg.export.source import Dtype, Source, with_uint8_input
from imgreg.heads.store import ModelCard, load_head
from imgreg.lazy_imports import load_keras
from imgreg.progress import Watcher
from imgreg.runs.atomic_folder import atomic_folder
from imgreg.runs.folder import Run, read_run, write_json, write_text
from imgreg.training.new_folder import refuse_inside
from imgreg.training.thumbnails import photo_bytes

MAX_PHOTOS = 50
RESIZE = "squeezed to a square, bilinear with antialiasing (Pillow), after the EXIF orientation"
FORMATS = {  # the file in imgreg/export that writes it, and the packages it needs: import name, distribution
    "keras": ("keras_file", {"keras": "keras"}),
    "savedmodel": ("saved_model", {"tensorflow": "tensorflow"}),
    "onnx": ("onnx_file", {"onnx": "onnx", "onnxruntime": "onnxruntime"}),
    "litert": ("litert_file", {"tensorflow": "tensorflow", "ai_edge_litert": "ai-edge-litert"}),
    "openvino": ("openvino_file", {"openvino": "openvino"}),
}
FLOAT16 = ("litert", "onnx", "openvino")


@dataclass(frozen=True)
class Exported:
    """One format, written and checked.

    Attributes
    ----------
    folder : Path
        Holds the model, labels.txt, card.json and parity.json.
    n_bytes : int
        Size of the model's files.
    """

    format: str
    folder: Path
    n_bytes: int
    parity: Parity


def export_run(
    run: Path,
    *,
    to: Sequence[str],
    out: Path | None = None,
    dtype: Dtype = "float32",
    force: bool = False,
    watcher: Watcher | None = None,
) -> list[Exported]:
    """Write the classifier of a run in each of the formats.

    Parameters
    ----------
    to : sequence of str
        Of keras, savedmodel, onnx, litert and openvino.
    out : Path, optional
        Gets a folder for each format; by default exports/ and the run's name, in the current folder.
    dtype : {"float32", "float16"}
        Of the stored weights. The arithmetic stays in float32 where the runtime lets it.
    force : bool
        Replace earlier exports.

    Raises
    ------
    UsageError
        If a format is unknown or cannot store float16, its folder exists, or it would be in the photo folder.
    MachineError
        If a package is missing.
    ArtefactError
        If the run cannot be read, or the exported model does not answer as imgreg does; it is then not kept.
    """
    watcher, out = watcher or Watcher(), out or Path("exports") / run.resolve().name
    formats = list(dict.fromkeys(to))
    for name in formats:
        _refuse(name, dtype=dtype, target=out / name, force=force)
    card, saved, read = checked_card(run), load_head(run), read_run(run)
    if read.data is not None and read.data.is_dir():
        refuse_inside(read.data, out, option="--out")
    photos = _photos(read, card)
    if not len(photos):
        watcher.tell(f"{run}: found none of its validation photos. The export is compared on synthetic images only.")
    images = np.concatenate([photos, synthetic_images(card.image_size)])
    watcher.say(f"Computing imgreg's probabilities in float32 for {len(photos)} photos and some synthetic images.")
    expected = np.stack([*photo_probabilities(images, classifier=load_classifier([run], precision="float32"))])
    load_keras()
    with tempfile.TemporaryDirectory() as temporary:
        model, saved_model = with_uint8_input(to_keras(run)), Path(temporary) / "model"
        if set(formats) & {"savedmodel", "litert", "openvino"}:
            model.export(saved_model, format="tf_saved_model", verbose=False)
        source = Source(saved, recorded_weights(card, run=run), model, saved_model, _metadata(card, read))
        done = []
        for name in formats:
            watcher.say(f"Writing {name} and comparing its probabilities with imgreg's.")
            done.append(_export(name, source, out / name, dtype=dtype, images=images, expected=expected))
    return done


def _refuse(name: str, *, dtype: Dtype, target: Path, force: bool) -> None:
    """Raise before anything is computed."""
    if name not in FORMATS:
        near = get_close_matches(name, FORMATS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"--to {name}: unknown format, expected one of {', '.join(FORMATS)}.{meant}")
    if dtype == "float16" and name not in FLOAT16:
        raise UsageError(
            f"--dtype float16: {name} is written in float32 only. Formats with float16: {', '.join(FLOAT16)}."
        )
    missing = [package for module, package in FORMATS[name][1].items() if importlib.util.find_spec(module) is None]
    if missing:
        raise MachineError(f"--to {name} needs {' and '.join(missing)}: pip install 'imgreg[export]'")
    if target.exists() and not force:
        raise UsageError(f"{target} exists. Replace it with --force, or choose another folder with --out.")


def _photos(run: Run, card: ModelCard) -> UInt8Array:
    """Up to 50 of the validation photos, in the order of their hashes, that still are as they were."""
    rows = sorted((row for row in run.split if row.on("val")), key=lambda row: row.sha256)
    read = (data for row in rows if (data := photo_bytes(run, row)) is not None)
    found = [decoding.decode(data, size_px=card.image_size) for data in islice(read, MAX_PHOTOS)]
    return np.stack(found) if found else np.empty((0, card.image_size, card.image_size, 3), np.uint8)


def _metadata(card: ModelCard, run: Run) -> dict[str, str]:
    return {
        "run": run.summary.name,
        "imgreg": __version__,
        "classes": json.dumps(card.classes),
        "image_size": str(card.image_size),
        "input": "uint8 RGB, NHWC, not preprocessed",
        "output": "probabilities in the order of the classes",
        "decode_policy": str(card.decode_policy),
        "resize": RESIZE,
    }


def _export(
    name: str, source: Source, target: Path, *, dtype: Dtype, images: UInt8Array, expected: np.ndarray
) -> Exported:
    """Write and compare; what fails leaves nothing."""
    module: ModuleType = importlib.import_module(f"imgreg.export.{FORMATS[name][0]}")
    with atomic_folder(target, replace=True, option="--out") as folder:
        module.write(source, folder, dtype=dtype)
        parity = measure(module.load(folder), images, expected, dtype=dtype)
        if not parity.holds:
            raise ArtefactError(
                f"{name}: probabilities differ from imgreg's by up to {parity.max_difference:.2g}, expected at most "
                f"{parity.tolerance:g} ({parity.n_flipped} images of another class). Nothing was written."
            )
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        n_bytes = sum(path.stat().st_size for path in files.values())
        hashes = {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in files.items()}
        versions = {package: importlib.metadata.version(package) for package in FORMATS[name][1].values()}
        described = {"precision_in_training": source.saved.card.precision, "reference": "imgreg in float32"}
        write_json(
            folder / "card.json",
            {"format": name, "dtype": dtype, **source.metadata, "classes": source.saved.card.classes},
        )
        write_json(folder / "parity.json", {**asdict(parity), **described, "versions": versions, "sha256": hashes})
        write_text(folder / "labels.txt", "\n".join(source.saved.card.classes) + "\n")
    return Exported(name, target, n_bytes, parity)


def export_document(done: Sequence[Exported]) -> dict[str, Any]:
    """The exports as one JSON document."""
    rows = [
        {"format": one.format, "folder": str(one.folder), "bytes": one.n_bytes, "parity": asdict(one.parity)}
        for one in done
    ]
    return {"exports": rows}
