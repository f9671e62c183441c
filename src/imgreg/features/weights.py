"""Which weights the frozen base carries: resolved to a checked local file before any network is built.

`auto` takes ImageNet's if they are in Keras' cache or can be downloaded, else the bundled starter weights, and says
so. `imagenet`, `starter` and a path are strict: they work, or they are an error that says what to do.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from imgreg.errors import ArtefactError, MachineError
from imgreg.lazy_imports import load_keras
from imgreg.paths import found_path

DECISION_SECONDS = 4.0  # to find out whether there is a network

_CHANNELS = {
    1: (64, 2),
    2: (128, 2),
    3: (256, 3),
    4: (512, 3),
    5: (512, 3),
}  # block: (channels, convolutions)


@dataclass(frozen=True)
class PublishedFile:
    """A file that its publisher names together with its hash."""

    name: str
    url: str
    md5: str


IMAGENET = PublishedFile(  # source: keras.applications.vgg16, WEIGHTS_PATH_NO_TOP and its file_hash
    name="vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    url="https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
    "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
    md5="6d6bbae143d832006294945121d1f1fc",
)


@dataclass(frozen=True)
class Weights:
    """A checked weights file. `note` says why these, where `auto` had to choose."""

    name: str
    path: Path
    sha256: str
    image_size: int  # the default, in pixels
    source: str  # imagenet, starter or an absolute path: how to find it again
    note: str = ""


def resolve_weights(choice: str, *, imagenet: PublishedFile = IMAGENET) -> Weights:
    """Find the weights' file, downloading ImageNet's where asked for.

    Parameters
    ----------
    choice : str
        auto, imagenet, starter, or a path, which may start with ~/.

    Raises
    ------
    MachineError
        If the ImageNet weights are not available.
    ArtefactError
        If a file is not VGG16's convolutions.
    """
    if choice == "starter":
        return _starter()
    if choice not in ("auto", "imagenet"):
        return _from_path(found_path(choice), imagenet=imagenet)
    try:
        return _imagenet(imagenet)
    except MachineError as error:
        if choice == "imagenet":
            raise
        return _starter(
            note=f"Could not download ImageNet weights ({error.__cause__ or error}). Using the bundled starter "
            "weights, which are less accurate."
        )


def starter_path() -> Path:
    """The bundled starter weights: in the wheel beside this package, in a checkout under models/."""
    package = Path(__file__).parents[1]
    name = "vgg16-starter.safetensors"
    for path in (package / "bundled" / name, package.parents[1] / "models" / name):
        if path.is_file():
            return path
    raise MachineError(
        f"{name} is missing from this installation. Reinstall imgreg, or pass a file with --weights PATH."
    )


def keras_cache() -> Path:
    """Where Keras keeps downloaded weights: $KERAS_HOME/models, else ~/.keras/models."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def layer_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of VGG16's convolutions, kernels in Keras' (height, width, in, out).

    >>> layer_shapes()["block2_conv1/kernel"], len(layer_shapes())
    ((3, 3, 64, 128), 26)
    """
    shapes: dict[str, tuple[int, ...]] = {}
    n_in = 3
    for block, (n_out, n_convolutions) in _CHANNELS.items():
        for convolution in range(1, n_convolutions + 1):
            shapes[f"block{block}_conv{convolution}/kernel"] = (3, 3, n_in, n_out)
            shapes[f"block{block}_conv{convolution}/bias"] = (n_out,)
            n_in = n_out
    return shapes


def _imagenet(published: PublishedFile) -> Weights:
    path = keras_cache() / published.name
    if not (path.is_file() and _digest(path, "md5") == published.md5):
        path = _download(published, path.parent)
    return Weights("imagenet", path, _digest(path, "sha256"), image_size=224, source="imagenet")


def _download(published: PublishedFile, folder: Path) -> Path:
    """Fetch a published file through Keras; where its cache cannot be written, Keras puts it elsewhere."""
    ways_out = (
        f"Use the bundled weights with --weights starter, or download {published.url} on another machine and pass "
        "the file with --weights PATH."
    )
    try:
        _reach(published.url)
        load_keras()  # only now: the decision above must not wait for TensorFlow
        import keras

        with contextlib.redirect_stdout(sys.stderr):  # Keras' progress bar; stdout is for results
            downloaded = keras.utils.get_file(
                published.name,
                published.url,
                cache_dir=str(folder.parent),
                cache_subdir=folder.name,
                file_hash=published.md5,
                hash_algorithm="md5",
            )
        return Path(downloaded)
    except Exception as error:
        raise MachineError(f"Could not download ImageNet weights: {error}. {ways_out}") from error


def _reach(url: str) -> None:
    """Ask for the headers of url. raises OSError within DECISION_SECONDS, even where a name look-up hangs."""
    outcome: list[OSError | None] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=DECISION_SECONDS):
                outcome.append(None)
        except urllib.error.URLError as error:
            outcome.append(error.reason if isinstance(error.reason, OSError) else error)
        except Exception as error:  # noqa: BLE001 - a proxy may answer anything
            outcome.append(error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}"))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(DECISION_SECONDS)
    if not outcome:
        raise TimeoutError(f"no answer within {DECISION_SECONDS:g} seconds")
    if outcome[0] is not None:
        raise outcome[0]


def _starter(*, note: str = "") -> Weights:
    path = starter_path()
    return Weights("starter", path, _digest(path, "sha256"), image_size=128, source="starter", note=note)


def _from_path(path: Path, *, imagenet: PublishedFile) -> Weights:
    if not path.is_file():
        raise MachineError(
            f"--weights {path}: not a file. Expected auto, imagenet, starter, or a .safetensors file with VGG16's "
            "convolutions."
        )
    if path.suffix == ".safetensors":
        size_px = _checked_image_size(path)
        return Weights(path.name, path, _digest(path, "sha256"), image_size=size_px, source=str(path.resolve()))
    if _digest(path, "md5") == imagenet.md5:
        return Weights("imagenet", path, _digest(path, "sha256"), image_size=224, source=str(path.resolve()))
    raise ArtefactError(
        f"--weights {path}: rejected. Expected a .safetensors file with VGG16's convolutions, or Keras' own "
        f"{imagenet.name} (MD5 {imagenet.md5}); other HDF5 and pickle files are not opened."
    )


def _checked_image_size(path: Path) -> int:
    """Check keys and shapes against VGG16 from the header alone; read the default image size if it is noted there."""
    expected = layer_shapes()
    try:
        with safe_open(path, framework="numpy") as file:
            found = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            noted = (file.metadata() or {}).get("image_size", "224")
    except (SafetensorError, OSError) as error:
        raise ArtefactError(f"--weights {path}: not a safetensors file ({error}).") from error
    wrong = sorted(key for key in expected.keys() | found.keys() if found.get(key) != expected.get(key))
    if wrong:
        key = wrong[0]
        raise ArtefactError(
            f"--weights {path}: not VGG16's convolutions: {key} is {found.get(key, 'missing')}, "
            f"expected {expected.get(key, 'no such key')}."
        )
    if not (noted.isdigit() and 32 <= int(noted) <= 1024):
        raise ArtefactError(f"--weights {path}: its metadata has image_size {noted!r}, expected 32 to 1024.")
    return int(noted)


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
