"""The frozen base in OpenVINO's form: exported by Keras once for each set of weights, kept in the cache, checked; for
int8 quantized once from that."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from imgreg.errors import ArtefactError, MachineError
from imgreg.features.block_files import block_name
from imgreg.features.dead_leaves import N_PICTURES, SIZE_PX, dead_leaves
from imgreg.features.int8 import RANGES_VERSION, activation_ranges, lowest_cosine, quantize
from imgreg.lazy_imports import load_openvino

if TYPE_CHECKING:
    from imgreg.features.backbone import Preprocessing
    from imgreg.features.weights import Weights

STRAY_SECONDS = 3600  # a half-made export is left alone for so long: its writer may still be at work
_EXPORTED = ("base.xml", "base.bin")
_PARTIAL = ".new-"
_INT8_COSINE = 0.99  # at least, on generated pictures; the starter weights reach 0.9997


def find_export(
    cache: Path, weights_sha256: str, *, preprocessing: Preprocessing = "vgg16", int8: bool = False
) -> Path | None:
    """The OpenVINO form of these weights if it lies in the cache; its arrays are not yet checked (`arrays_intact`)."""
    folder = _export_folder(cache, weights_sha256, preprocessing, int8=int8)
    return folder / "base.xml" if _is_intact(folder, "base.xml") else None


def arrays_intact(model: Path) -> bool:
    """Whether the exported arrays, 59 MB, are those that were written."""
    return _is_intact(model.parent, "base.bin")


def kept_exports(cache: Path) -> tuple[Path, ...]:
    """The folders of exported bases, whole or not."""
    return tuple(sorted(path for path in (cache / "base").glob("vgg16-*") if path.is_dir()))


def is_whole(export: Path) -> bool:
    """Whether every file of an exported base is as it was written."""
    return all(_is_intact(export, name) for name in _EXPORTED)


def find_or_export(
    weights: Weights,
    *,
    cache: Path,
    preprocessing: Preprocessing = "vgg16",
    int8: bool = False,
    on_picture: Callable[[int, int], None] | None = None,
) -> Path:
    """The OpenVINO form of the base in the cache, checked; exported as by `export_base` only if it is not there."""
    kept = find_export(cache, weights.sha256, preprocessing=preprocessing, int8=int8)
    if kept and arrays_intact(kept):
        return kept
    return export_base(weights, cache=cache, preprocessing=preprocessing, int8=int8, on_picture=on_picture)


def export_base(
    weights: Weights,
    *,
    cache: Path,
    preprocessing: Preprocessing = "vgg16",
    int8: bool = False,
    on_picture: Callable[[int, int], None] | None = None,
) -> Path:
    """Export the Keras base to OpenVINO's form, whole or not at all. Imports TensorFlow.

    For int8, the float32 form is quantized; only where the cache lacks that, it is exported first.

    Parameters
    ----------
    on_picture : callable, optional
        Called with (pictures done, pictures) while the ranges of int8 are measured.

    Returns
    -------
    Path
        The .xml, with the .bin beside it.

    Raises
    ------
    ArtefactError
        If the features of these weights do not survive 8 bits.
    MachineError
        If the cache folder cannot be written.
    """
    if int8:
        exact = find_or_export(weights, cache=cache, preprocessing=preprocessing)
        write = _quantized(exact, weights=weights, on_picture=on_picture)
    else:
        write = _converted(weights, preprocessing=preprocessing)
    return _write_whole(_export_folder(cache, weights.sha256, preprocessing, int8=int8), write)


def export_files(model: Path) -> dict[str, bytes]:
    """The content of an exported base's files, by their names."""
    return {name: (model.parent / name).read_bytes() for name in _EXPORTED}


def fetch_export(
    cache: Path,
    weights_sha256: str,
    *,
    names: Mapping[str, str],
    fetch: Callable[[str], bytes],
    preprocessing: Preprocessing = "vgg16",
    int8: bool = False,
) -> None:
    """Bring another machine's exported base into the cache, unless it is there. One process of a machine does so.

    Parameters
    ----------
    names : mapping of str to str
        Each file's `block_name`.
    fetch : callable
        Gives the content of such a name.

    Raises
    ------
    MachineError
        If the cache folder cannot be written, or what `fetch` raises.
    """
    folder = _export_folder(cache, weights_sha256, preprocessing, int8=int8)

    def write(model: Path) -> None:
        for file, name in names.items():
            (model.parent / file).write_bytes(fetch(name))

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / ".lock"):
            if not is_whole(folder) or any(block_name((folder / file).read_bytes()) != names[file] for file in names):
                _write_whole(folder, write)
    except OSError as error:
        raise MachineError(
            f"{cache}: cannot be written ({error.strerror}). Every machine needs a cache folder of its own: set "
            "XDG_CACHE_HOME where its Ray is started."
        ) from error


def _converted(weights: Weights, *, preprocessing: Preprocessing) -> Callable[[Path], None]:
    """What writes the Keras base in OpenVINO's form."""
    from imgreg.features.backbone import build_backbone

    load_openvino(converter=True)
    base = build_backbone(weights, preprocessing=preprocessing)
    return lambda model: base.export(str(model), format="openvino", verbose=False)


def _quantized(
    exact: Path, *, weights: Weights, on_picture: Callable[[int, int], None] | None
) -> Callable[[Path], None]:
    """What writes the quantized form of an exported base. raises ArtefactError"""
    ranges = activation_ranges(exact, pictures=_generated(on_picture), size_px=SIZE_PX)
    ov = load_openvino()
    network = ov.Core().read_model(exact)
    quantize(network, ranges=ranges)
    cosine = lowest_cosine(exact, network, pictures=[*dead_leaves(4)])
    if not cosine >= _INT8_COSINE:  # NaN where every feature is 0
        raise ArtefactError(
            f"--precision int8: the {weights.name} weights do not suit 8 bits. Their features agree with float32 to a "
            f"cosine of {cosine:.2f}, expected at least {_INT8_COSINE}. Use --precision auto."
        )
    return lambda model: ov.save_model(network, model, compress_to_fp16=False)


def _generated(on_picture: Callable[[int, int], None] | None) -> Iterator[NDArray[np.uint8]]:
    for done, picture in enumerate(dead_leaves(N_PICTURES), start=1):
        yield picture
        if on_picture is not None:
            on_picture(done, N_PICTURES)


def _write_whole(target: Path, write: Callable[[Path], None]) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f"{_PARTIAL}*"):  # 60 MB, of a process that was killed
            if left.stat().st_mtime < time.time() - STRAY_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=_PARTIAL) as temporary:
            folder = Path(temporary) / "whole"
            folder.mkdir()
            write(folder / "base.xml")
            hashes = {name: _file_hash(folder / name) for name in _EXPORTED}
            (folder / "hashes.json").write_text(json.dumps(hashes))
            if target.exists():  # damaged, or another process was faster; either way ours is whole
                shutil.rmtree(target, ignore_errors=True)
            folder.rename(target)
    except (
        OSError,
        RuntimeError,
    ) as error:  # OpenVINO writes by itself, and raises RuntimeError where the disk is full
        if not is_whole(target):
            raise MachineError(
                f"{target}: cannot save the exported VGG16 ({error}); it needs about 60 MB. Set IMGREG_CACHE to a "
                "folder with enough space."
            ) from error
    return target / "base.xml"


def _export_folder(cache: Path, weights_sha256: str, preprocessing: Preprocessing, *, int8: bool = False) -> Path:
    suffix = "" if preprocessing == "vgg16" else f"-{preprocessing}"
    if int8:
        suffix += f"-int8-{RANGES_VERSION}"
    return cache / "base" / f"vgg16-{weights_sha256[:32]}-keras-{importlib.metadata.version('keras')}{suffix}"


def _is_intact(folder: Path, name: str) -> bool:
    try:
        return bool(json.loads((folder / "hashes.json").read_text())[name] == _file_hash(folder / name))
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
