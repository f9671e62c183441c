"""weights.py: which file, and what is refused. Downloads run against a server that the test starts itself."""

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from imgreg.errors import ArtefactError, MachineError
from imgreg.features.weights import (
    IMAGENET,
    PublishedFile,
    keras_cache,
    layer_shapes,
    resolve_weights,
    starter_path,
)

CONTENT = b"not really VGG16's weights, but bytes with a published hash"


@pytest.fixture
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "models"


@pytest.fixture
def server() -> Iterator[str]:
    """A web server on this machine that has one file."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            found = self.path == "/vgg16.h5"
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            self.wfile.write(CONTENT)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def published(url: str, content: bytes = CONTENT) -> PublishedFile:
    return PublishedFile("vgg16.h5", url, hashlib.md5(content).hexdigest())


def test_the_published_file_is_keras_own() -> None:
    """Name, address and hash are those in keras.applications.vgg16."""
    import inspect

    import keras
    from keras.src.applications import vgg16

    assert IMAGENET.url == vgg16.WEIGHTS_PATH_NO_TOP
    source = inspect.getsource(keras.applications.VGG16)
    assert f'"{IMAGENET.name}"' in source
    assert f'"{IMAGENET.md5}"' in source


def test_imagenet_is_downloaded_checked_and_kept(
    keras_home: Path, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first call downloads through Keras, the second finds the file; stdout stays clean."""
    found = resolve_weights("imagenet", imagenet=published(f"{server}/vgg16.h5"))
    assert found.path == keras_home / "vgg16.h5"
    assert found.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (found.name, found.image_size, found.note) == ("imagenet", 224, "")
    assert resolve_weights("imagenet", imagenet=published("http://127.0.0.1:9/gone")) == found
    assert capsys.readouterr().out == ""


def test_a_download_with_another_hash_is_refused(keras_home: Path, server: str) -> None:
    """What the server gives must be what Keras published."""
    with pytest.raises(MachineError, match="Could not download ImageNet weights"):
        resolve_weights("imagenet", imagenet=published(f"{server}/vgg16.h5", b"something else"))


def test_a_damaged_file_in_keras_cache_is_not_used(keras_home: Path, server: str) -> None:
    """A half-downloaded file is fetched again."""
    keras_home.mkdir()
    (keras_home / "vgg16.h5").write_bytes(CONTENT[:10])
    found = resolve_weights("auto", imagenet=published(f"{server}/vgg16.h5"))
    assert found.path.read_bytes() == CONTENT


def test_auto_uses_the_starter_weights_and_says_so(keras_home: Path) -> None:
    """With no answer, auto takes the bundled weights with a note."""
    found = resolve_weights("auto", imagenet=published("http://127.0.0.1:9/vgg16.h5"))
    assert (found.name, found.image_size) == ("starter", 128)
    assert "Could not download ImageNet weights" in found.note
    assert "Using the bundled starter weights" in found.note


@pytest.mark.parametrize("choice", ["auto", "imagenet"])
def test_a_server_that_never_answers_costs_five_seconds_at_most(keras_home: Path, choice: str) -> None:
    """The decision is taken within 5 seconds even where a connection hangs."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, then says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/vgg16.h5"
        started = time.monotonic()
        if choice == "auto":
            assert resolve_weights(choice, imagenet=published(url)).name == "starter"
        else:
            with pytest.raises(MachineError, match=r"--weights starter.*--weights PATH"):
                resolve_weights(choice, imagenet=published(url))
        assert time.monotonic() - started < 5


def test_keras_cache_follows_keras_home(keras_home: Path) -> None:
    """Weights that Keras itself downloaded are found."""
    assert keras_cache() == keras_home


def test_starter_is_what_the_card_says() -> None:
    """The bundled weights have the hash that their card names."""
    card = (Path(__file__).parents[2] / "models" / "vgg16-starter.md").read_text(encoding="utf-8")
    assert hashlib.sha256(starter_path().read_bytes()).hexdigest() in card
    assert resolve_weights("starter").sha256 in card


def test_layer_shapes_are_keras_own() -> None:
    """The table of shapes is VGG16's as Keras builds it."""
    import keras

    model = keras.applications.VGG16(include_top=False, weights=None)
    assert {f"{layer.name}/{w.name}": tuple(w.shape) for layer in model.layers for w in layer.weights} == layer_shapes()


def test_a_path_is_used_with_its_own_image_size(tmp_path: Path) -> None:
    """A safetensors file's metadata may give its default image size."""
    path = tmp_path / "mine.safetensors"
    save_file(load_file(starter_path()), path, metadata={"image_size": "96"})
    found = resolve_weights(str(path))
    assert (found.name, found.image_size, found.path) == ("mine.safetensors", 96, path)


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    """A file with other shapes is named by its first wrong key."""
    arrays = load_file(starter_path())
    arrays["block1_conv1/kernel"] = np.zeros((3, 3, 1, 64), np.float16)
    save_file(arrays, tmp_path / "other.safetensors")
    with pytest.raises(ArtefactError, match=r"block1_conv1/kernel is \(3, 3, 1, 64\), expected \(3, 3, 3, 64\)"):
        resolve_weights(str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize("name", ["x.h5", "x.keras", "x.pkl", "x.npz"])
def test_foreign_formats_are_refused_unopened(tmp_path: Path, name: str) -> None:
    """HDF5, Keras and pickle files are refused, except Keras' own by its hash."""
    (tmp_path / name).write_bytes(CONTENT)
    with pytest.raises(ArtefactError, match="rejected"):
        resolve_weights(str(tmp_path / name))
    assert resolve_weights(str(tmp_path / name), imagenet=published("http://127.0.0.1:9")).name == "imagenet"


def test_a_missing_path_says_what_to_give(tmp_path: Path) -> None:
    """A path that is not there is an error of the environment."""
    with pytest.raises(MachineError, match="not a file"):
        resolve_weights(str(tmp_path / "none.safetensors"))


def test_a_damaged_safetensors_file_is_refused(tmp_path: Path) -> None:
    """A file cut short is not read."""
    (tmp_path / "half.safetensors").write_bytes(starter_path().read_bytes()[:1000])
    with pytest.raises(ArtefactError, match="not a safetensors file"):
        resolve_weights(str(tmp_path / "half.safetensors"))
