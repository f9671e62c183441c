"""engines.py: both engines are the same network, with Keras' preprocessing applied exactly once."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imgreg.config import Base
from imgreg.errors import ArtefactError, MachineError
from imgreg.features import engines, export
from imgreg.features.backbone import block_arrays, build_backbone, feature_shape, load_vgg16, tail
from imgreg.features.engines import Engine, EngineName, EngineSettings, choose_engine, engine_version, load_engine
from imgreg.features.export import arrays_intact, find_export
from imgreg.features.int8 import lowest_cosine, quantize
from imgreg.features.processor import convolution_kernel, has_bfloat16, has_int8
from imgreg.features.weights import resolve_weights
from imgreg.lazy_imports import load_openvino
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.training.backbone import Backbone

PHOTOS = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)
STARTER = resolve_weights("starter")
NEEDS_INT8 = pytest.mark.skipif(not has_int8(), reason="needs a processor with VNNI or AMX")


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


@pytest.mark.parametrize("precision", ["float32", pytest.param("int8", marks=NEEDS_INT8)])
def test_a_photos_features_do_not_depend_on_its_neighbours(own_cache: Path, precision: str) -> None:
    """OpenVINO gives the same bits whether a photo comes alone, first or last."""
    openvino = engine("openvino", own_cache, precision=precision)
    together = list(openvino.embed(PHOTOS))
    for photo, features in zip(reversed(PHOTOS), reversed(together), strict=True):
        np.testing.assert_array_equal(next(iter(openvino.embed([photo]))), features)


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs Linux and two cores"
)
def test_processes_of_one_thread_are_not_bound_to_the_same_core(own_cache: Path) -> None:
    """An engine's only thread may run on any core: bound to its first, two such processes would share that one."""
    settings = EngineSettings("openvino", "float32", 64, n_threads=1)
    before = set(Path("/proc/self/task").iterdir())
    one = load_engine(settings, weights_sha256=STARTER.sha256, find_weights=lambda: STARTER, cache=own_cache)
    assert len(list(one.embed(PHOTOS))) == len(PHOTOS)
    threads = set(Path("/proc/self/task").iterdir()) - before
    assert threads
    assert {frozenset(os.sched_getaffinity(int(thread.name))) for thread in threads} == {
        frozenset(os.sched_getaffinity(0))
    }


def test_one_export_serves_every_size(own_cache: Path) -> None:
    """The exported base is not tied to one image size."""
    photos = np.zeros((1, 96, 96, 3), np.uint8)
    assert next(iter(engine("openvino", own_cache, size_px=96).embed(photos))).shape == feature_shape(96)


def exported(own_cache: Path, cache: Path) -> Path:
    """A copy of the exported base in another cache, to be damaged."""
    engine("openvino", own_cache)
    kept = find_export(own_cache, STARTER.sha256)
    assert kept is not None
    shutil.copytree(kept.parent, cache / "base" / kept.parent.name)
    copied = find_export(cache, STARTER.sha256)
    assert copied is not None
    return copied


def test_a_damaged_export_is_made_again(own_cache: Path, tmp_path: Path) -> None:
    """A flipped byte in the exported base is noticed and mended."""
    path = exported(own_cache, tmp_path)
    data = bytearray(path.with_suffix(".bin").read_bytes())
    data[1000] ^= 1
    path.with_suffix(".bin").write_bytes(data)
    assert not arrays_intact(path)
    engine("openvino", tmp_path)
    assert find_export(tmp_path, STARTER.sha256) == path
    assert arrays_intact(path)


@pytest.mark.parametrize("name", ["base.xml", "base.bin"])
def test_an_export_cut_short_is_made_again(own_cache: Path, tmp_path: Path, name: str) -> None:
    """Half a file, as an interrupted copy leaves it, is noticed and mended."""
    path = exported(own_cache, tmp_path)
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


def cosines(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    found, expected = found.reshape(len(found), -1), expected.reshape(len(found), -1)
    return (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)


@pytest.mark.parametrize("name", ["openvino", "keras"])
def test_bfloat16_agrees(reference: np.ndarray, own_cache: Path, name: EngineName) -> None:
    """bfloat16 features point the same way: cosine at least 0.999 a photo. Loaded directly, OpenVINO rounds to bfloat16
    on any processor with AVX-512, if slowly, and TensorFlow on every one."""
    found = np.stack(list(engine(name, own_cache, precision="bfloat16").embed(PHOTOS)))
    assert cosines(found, reference).min() >= 0.999


RANGES = [2 ** (n / 8) for n in (38, 37, 33, 33, 33, 26, 27, 23, 24, 25, 24, 28)]


@NEEDS_INT8
def test_int8_agrees(reference: np.ndarray, own_cache: Path) -> None:
    """int8 features agree with float32 to a cosine of 0.9998 a photo, and so do those of a fine-tuned block beside
    them; with ranges a quarter or eight times as wide they would not."""
    found = np.stack(list(engine("openvino", own_cache, precision="int8").embed(PHOTOS)))
    assert cosines(found, reference).min() >= 0.9998
    branched = load_engine(
        EngineSettings("openvino", "int8", 64, blocks=(block_arrays(STARTER, "block5"),)),
        weights_sha256=STARTER.sha256,
        find_weights=lambda: STARTER,
        cache=own_cache,
    )
    by_base, by_block = np.stack(list(branched.embed(PHOTOS))).swapaxes(0, 1)
    np.testing.assert_allclose(by_base, found, rtol=1e-4, atol=1e-4)
    assert cosines(by_block, reference).min() >= 0.9998
    exact = find_export(own_cache, STARTER.sha256)
    assert exact is not None
    for factor in (1 / 4, 8):
        network = load_openvino().Core().read_model(exact)
        quantize(network, ranges=[factor * high for high in RANGES])
        assert lowest_cosine(exact, network, pictures=PHOTOS) < 0.9998


@NEEDS_INT8
def test_weights_that_do_not_suit_int8_are_refused(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is kept of a base whose int8 features differ much from float32, here for ranges that clip."""
    exported(own_cache, tmp_path)
    monkeypatch.setattr(export, "activation_ranges", lambda *_, **__: [high / 8 for high in RANGES])
    with pytest.raises(ArtefactError, match=r"starter weights do not suit 8 bits.* cosine of 0\.[0-8]"):
        engine("openvino", tmp_path, precision="int8")
    assert find_export(tmp_path, STARTER.sha256, int8=True) is None


@NEEDS_INT8
def test_the_ranges_of_int8_are_the_same_everywhere(own_cache: Path) -> None:
    """They are those that were measured on another machine: whoever changes the pictures changes RANGES_VERSION."""
    engine("openvino", own_cache, precision="int8")
    kept = find_export(own_cache, STARTER.sha256, int8=True)
    assert kept is not None
    nodes = load_openvino().Core().read_model(kept).get_ordered_ops()
    rounded = [node for node in nodes if node.get_type_name() == "FakeQuantize" and node.get_levels() == 256]
    assert [node.input_value(2).get_node().data.item() for node in rounded] == pytest.approx(RANGES)


def test_int8_is_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """--precision int8 needs OpenVINO and a processor with VNNI or AMX, and is never chosen by itself."""
    with pytest.raises(MachineError, match="only OpenVINO computes in int8"):
        choose_engine(Base(engine="keras", precision="int8"), say=print)
    monkeypatch.setattr(engines, "has_int8", lambda: False)
    with pytest.raises(MachineError, match="neither VNNI nor AMX"):
        choose_engine(Base(engine="openvino", precision="int8"), say=print)


def test_the_base_is_frozen() -> None:
    """Nothing in the base can be trained."""
    assert build_backbone(STARTER).trainable_weights == []


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the instruction sets are those of x86")
def test_the_kind_of_processor_is_part_of_the_version() -> None:
    """A processor with fewer instructions computes other bits, so its features have other names; and it has no int8."""
    code = (
        "from imgreg.features.engines import engine_version\nfrom imgreg.features.processor import has_int8\n"
        "print(has_int8(), engine_version('openvino', 'float32'))"
    )
    older = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"ONEDNN_MAX_CPU_ISA": "SSE41"}, capture_output=True, check=True
    )
    has, *version = older.stdout.decode().split()
    assert (has, version[-1]) == ("False", "jit_sse42_f32")
    assert version[:-1] == engine_version("openvino", "float32").split()[:-1]
    assert convolution_kernel("float32") != "jit_sse42_f32"
    of_int8 = engine_version("openvino", "int8").split()
    assert of_int8[-2:] == ["ranges", "1"]
    assert of_int8[-3] != convolution_kernel("float32")
