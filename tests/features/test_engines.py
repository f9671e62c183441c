"""engines.py: both engines are the same network, with Keras' preprocessing applied exactly once."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imgreg.config import Base
from imgreg.errors import MachineError
from imgreg.features.backbone import block_arrays, build_backbone, feature_shape, load_vgg16, tail
from imgreg.features.engines import (
    Engine,
    EngineName,
    EngineSettings,
    choose_engine,
    convolution_kernel,
    engine_version,
    has_bfloat16,
    load_engine,
)
from imgreg.features.export import arrays_intact, find_export
from imgreg.features.weights import resolve_weights
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.training.backbone import Backbone

PHOTOS = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
STARTER = resolve_weights("starter")


def engine(name: str, cache: Path, *, precision: str = "float32", size_px: int = 64, one_photo: bool = False) -> Engine:
    return load_engine(
        EngineSettings(name, precision, size_px, one_photo=one_photo),
        weights_sha256=STARTER.sha256,
        find_weights=lambda: STARTER,
        cache=cache,
    )


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    """Features by plain Keras: float pixels, its own preprocess_input, its own VGG16 with these weights."""
    import keras
    from safetensors.numpy import load_file

    vgg16 = keras.applications.VGG16(include_top=False, weights=None, input_shape=(64, 64, 3))
    arrays = load_file(STARTER.path)
    for layer in vgg16.layers:
        if layer.weights:
            layer.set_weights([arrays[f"{layer.name}/kernel"], arrays[f"{layer.name}/bias"]])
    pixels = keras.applications.vgg16.preprocess_input(PHOTOS.astype(np.float32))
    return vgg16.predict(pixels, verbose=0)


@pytest.mark.parametrize(("name", "one_photo"), [("openvino", False), ("openvino", True), ("keras", False)])
def test_engines_agree_with_plain_keras(name: str, one_photo: bool, reference: np.ndarray, own_cache: Path) -> None:
    """float32 features agree to 1e-3 of the largest: preprocessing is applied once, in both engines."""
    found = np.stack(list(engine(name, own_cache, one_photo=one_photo).embed(PHOTOS)))
    assert found.shape == (5, *feature_shape(64))
    assert np.abs(found - reference).max() <= 1e-3 * np.abs(reference).max()


@pytest.mark.parametrize("name", ["openvino", "keras"])
def test_rescaled_photos_are_divided_by_255(name: str, own_cache: Path) -> None:
    """With preprocessing = rescale both engines give VGG16 RGB in 0..1, and the usual export is another one."""
    vgg16 = load_vgg16(STARTER)
    expected = vgg16.predict(PHOTOS.astype(np.float32) / 255, verbose=0)
    loaded = load_engine(
        EngineSettings(name, "float32", 64, preprocessing="rescale"),
        weights_sha256=STARTER.sha256,
        find_weights=lambda: STARTER,
        cache=own_cache,
    )
    found = np.stack(list(loaded.embed(PHOTOS)))
    assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()
    usual = np.stack(list(engine(name, own_cache).embed(PHOTOS)))
    assert np.abs(found - usual).max() > 0.1 * np.abs(usual).max()


def test_a_cut_engine_and_a_block_of_its_own_preprocess_alike() -> None:
    """Fine-tuning with preprocessing = rescale: block4_pool through block5 is what the whole base gives, and so is the
    base with its own block put in as a tuned one, as predict does."""
    import keras

    base = Backbone(
        Base(weights="starter", image_size=64, precision="float32", preprocessing="rescale"), watcher=Watcher()
    )
    block = block_arrays(base.weights, "block5")
    deep = np.stack(list(base.engine_cut_at("block4_pool").embed(PHOTOS)))
    start = keras.Input(deep.shape[1:])
    through = keras.Model(start, tail(start, block)).predict(deep, verbose=0)
    whole = np.stack(list(base.engine.embed(PHOTOS)))
    assert np.abs(through - whole).max() <= 1e-3 * np.abs(whole).max()
    branched = load_engine(
        EngineSettings(base.engine_name, "float32", 64, preprocessing="rescale", blocks=(block,)),
        weights_sha256=STARTER.sha256,
        find_weights=lambda: STARTER,
        cache=cache_folder(),
    )
    found = np.stack(list(branched.embed(PHOTOS)))
    assert np.abs(found - whole[:, None]).max() <= 1e-3 * np.abs(whole).max()


def test_preprocessing_twice_would_be_noticed(reference: np.ndarray, own_cache: Path) -> None:
    """The agreement above is not loose enough to pass photos preprocessed beforehand."""
    wrong = np.clip(PHOTOS[..., ::-1].astype(np.float32) - (104, 117, 124), 0, 255).astype(np.uint8)
    found = np.stack(list(engine("openvino", own_cache).embed(wrong)))
    assert np.abs(found - reference).max() > 0.1 * np.abs(reference).max()


def test_a_photos_features_do_not_depend_on_its_neighbours(own_cache: Path) -> None:
    """OpenVINO gives the same bits whether a photo comes alone, first or last."""
    openvino = engine("openvino", own_cache)
    together = list(openvino.embed(PHOTOS))
    for photo, features in zip(reversed(PHOTOS), reversed(together), strict=True):
        np.testing.assert_array_equal(next(iter(openvino.embed([photo]))), features)


def test_one_export_serves_every_size(own_cache: Path) -> None:
    """The exported base is not tied to one image size."""
    photos = np.zeros((1, 96, 96, 3), np.uint8)
    assert next(iter(engine("openvino", own_cache, size_px=96).embed(photos))).shape == feature_shape(96)


def test_a_damaged_export_is_made_again(tmp_path: Path) -> None:
    """A flipped byte in the exported base is noticed and mended."""
    engine("openvino", tmp_path)
    path = find_export(tmp_path, STARTER.sha256)
    assert path is not None
    data = bytearray(path.with_suffix(".bin").read_bytes())
    data[1000] ^= 1
    path.with_suffix(".bin").write_bytes(data)
    assert not arrays_intact(path)
    engine("openvino", tmp_path)
    assert find_export(tmp_path, STARTER.sha256) == path
    assert arrays_intact(path)


@pytest.mark.parametrize("name", ["base.xml", "base.bin"])
def test_an_export_cut_short_is_made_again(tmp_path: Path, name: str) -> None:
    """Half a file, as an interrupted copy leaves it, is noticed and mended."""
    engine("openvino", tmp_path)
    path = find_export(tmp_path, STARTER.sha256)
    assert path is not None
    cut = path.with_name(name)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    engine("openvino", tmp_path)
    assert find_export(tmp_path, STARTER.sha256) == path
    assert arrays_intact(path)


def test_auto_settles_on_something_this_machine_has(own_cache: Path) -> None:
    """What auto chooses can be loaded, and is never `auto`."""
    name, precision = choose_engine(Base(), say=lambda line: None)
    assert name in ("openvino", "keras")
    assert engine(name, own_cache, precision=precision).precision in ("float32", "bfloat16")


def test_bfloat16_is_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """--precision bfloat16 works where the processor has it, and is an error elsewhere."""
    asked = Base(engine="openvino", precision="bfloat16")
    if has_bfloat16():
        assert choose_engine(asked, say=print) == ("openvino", "bfloat16")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    with pytest.raises(MachineError, match="neither AMX nor AVX512-BF16"):
        choose_engine(asked, say=print)


@pytest.mark.parametrize("name", ["openvino", "keras"])
def test_bfloat16_agrees(reference: np.ndarray, own_cache: Path, name: EngineName) -> None:
    """bfloat16 features point the same way: cosine at least 0.999 a photo. Loaded directly, OpenVINO rounds to bfloat16
    on any processor with AVX-512, if slowly, and TensorFlow on every one."""
    found = np.stack(list(engine(name, own_cache, precision="bfloat16").embed(PHOTOS))).reshape(5, -1)
    expected = reference.reshape(5, -1)
    cosines = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() >= 0.999


def test_the_base_is_frozen() -> None:
    """Nothing in the base can be trained."""
    assert build_backbone(STARTER).trainable_weights == []


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the instruction sets are those of x86")
def test_the_kind_of_processor_is_part_of_the_version() -> None:
    """A processor with fewer instructions computes other bits, so its features have other names."""
    code = "from imgreg.features.engines import engine_version; print(engine_version('openvino', 'float32'))"
    older = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"ONEDNN_MAX_CPU_ISA": "SSE41"}, capture_output=True, check=True
    )
    assert older.stdout.decode().split()[-1] == "jit_sse42_f32"
    assert older.stdout.decode().split()[:-1] == engine_version("openvino", "float32").split()[:-1]
    assert convolution_kernel("float32") != "jit_sse42_f32"
