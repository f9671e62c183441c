"""store.py: what was saved is what is loaded, and anything else is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from imgreg.config import Head
from imgreg.errors import ArtefactError
from imgreg.features.blocks import tuned_shapes
from imgreg.heads.plan import plan_head
from imgreg.heads.store import BLOCK_FILE, ModelCard, load_head, save_head

CARD = ModelCard(
    classes=("a", "b"),
    weights="starter",
    weights_sha256="0" * 64,
    image_size=32,
    decode_policy=1,
    engine="openvino",
    precision="float32",
    feature_shape=(1, 1, 512),
    plan=plan_head(Head(units=(4,)), n_classes=2),
)
WEIGHTS = {
    "hidden_1/kernel": np.ones((512, 4), np.float32),
    "hidden_1/bias": np.zeros(4, np.float32),
    "classes/kernel": np.ones((4, 2), np.float32),
    "classes/bias": np.zeros(2, np.float32),
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    save_head(tmp_path, card=CARD, heads=[WEIGHTS])
    return tmp_path


def test_a_head_comes_back(run: Path) -> None:
    """Card and arrays are those that were saved."""
    saved = load_head(run)
    assert saved.card.plan == CARD.plan
    assert saved.heads[0].keys() == WEIGHTS.keys()
    np.testing.assert_array_equal(saved.heads[0]["hidden_1/kernel"], WEIGHTS["hidden_1/kernel"])


def test_several_heads_come_back_each_with_its_own_arrays(tmp_path: Path) -> None:
    """Also with a pool whose vector is longer than the map; what the card says of mirror images is kept."""
    card = msgspec.structs.replace(
        CARD, plan=plan_head(Head(units=(4,), pool="flatten+max"), n_classes=2), n_heads=2, mirror=True
    )
    kernels = [np.full((512 + 512, 4), k, np.float32) for k in (1, 2)]
    save_head(tmp_path, card=card, heads=[WEIGHTS | {"hidden_1/kernel": kernel} for kernel in kernels])
    saved = load_head(tmp_path)
    assert (len(saved.heads), saved.card.mirror) == (2, True)
    for head, kernel in zip(saved.heads, kernels, strict=True):
        assert head.keys() == WEIGHTS.keys()
        np.testing.assert_array_equal(head["hidden_1/kernel"], kernel)


def test_an_exchanged_head_is_refused(run: Path) -> None:
    """Arrays that model.json does not name by hash are not used."""
    save_file(WEIGHTS | {"classes/bias": np.ones(2, np.float32)}, run / "head.safetensors")
    with pytest.raises(ArtefactError, match="SHA-256 differs"):
        load_head(run)


def test_wrong_shapes_are_refused(tmp_path: Path) -> None:
    """A head whose arrays do not fit its plan is refused even with the right hash."""
    save_head(tmp_path, card=CARD, heads=[WEIGHTS | {"classes/bias": np.zeros(3, np.float32)}])
    with pytest.raises(ArtefactError, match="found arrays"):
        load_head(tmp_path)


def test_a_head_larger_than_its_plan_is_not_read(run: Path) -> None:
    """A stranger's file of two gigabytes is refused by its size alone; so is a model.json of two."""
    for name in ("head.safetensors", "model.json"):
        with (run / name).open("r+b") as file:
            file.truncate(2**31)  # takes no room: a hole
        with pytest.raises(ArtefactError, match=rf"{name}: found 2,147,483,648 bytes, expected at most"):
            load_head(run)


def test_another_preprocessing_is_refused(run: Path) -> None:
    """A card that asks for a preprocessing this imgreg does not do is refused by name."""
    card = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps(card | {"preprocessing": "rescale 1/127.5 - 1"}))
    with pytest.raises(ArtefactError, match="preprocessing"):
        load_head(run)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    """An empty folder is refused with the way to a run."""
    with pytest.raises(ArtefactError, match="is not a run: cannot read .*model.json"):
        load_head(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 64}, r"image_size 64 \(stored: map\), but feature_shape"),
        ({"stored": "avg", "image_size": 64, "feature_shape": [2, 2, 512]}, r"stored: avg\), but feature_shape"),
        ({"classes": ["a", "b", "c"]}, "3 classes, but a last layer of 2 units"),
        ({"calibration": {"n_held_out": [1], "n_references": 0}}, "scores of 1 classes, but 2 classes"),
        (
            {"calibration": {"n_held_out": [1, 1], "n_references": 3, "novelty_threshold": 0.0}},
            "a novelty threshold, but fewer than 20 references",
        ),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(run: Path, change: dict[str, object], message: str) -> None:
    """A changed model.json is an artefact refused, not a crash in the arithmetic or a wrong label."""
    card = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps(card | change))
    with pytest.raises(ArtefactError, match=message):
        load_head(run)


@pytest.mark.parametrize("size", [-64, 0, 8, 31, 1025, 20_000, 10**6])
def test_an_impossible_image_size_is_refused(run: Path, size: int) -> None:
    """A size that no command trains at is refused before a base is built for it, even with a shape to match."""
    card = json.loads((run / "model.json").read_text())
    change = {"image_size": size, "feature_shape": [size // 32, size // 32, 512]}
    (run / "model.json").write_text(json.dumps(card | change))
    with pytest.raises(ArtefactError, match="image_size"):
        load_head(run)


@pytest.mark.parametrize("groups", [7, -3, 0])
def test_impossible_groups_are_refused(tmp_path: Path, groups: int) -> None:
    """Groups that do not divide the layer's units are refused, not met in the arithmetic."""
    head = Head(units=(4,), normalization="before_activation", normalization_kind="group", groups=2)
    normalization = {f"normalization_1/{name}": np.ones(4, np.float32) for name in ("gamma", "beta")}
    card = msgspec.structs.replace(CARD, plan=plan_head(head, n_classes=2))
    save_head(tmp_path, card=card, heads=[WEIGHTS | normalization])
    assert load_head(tmp_path).card.plan == card.plan
    text = (tmp_path / "model.json").read_text()
    assert '"groups": 2' in text
    (tmp_path / "model.json").write_text(text.replace('"groups": 2', f'"groups": {groups}'))
    with pytest.raises(ArtefactError, match="groups"):
        load_head(tmp_path)


def test_a_deeply_nested_card_is_refused(run: Path) -> None:
    """Nesting without end is an artefact refused, not a RecursionError."""
    (run / "model.json").write_text('{"classes": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(ArtefactError, match="model.json"):
        load_head(run)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")
@pytest.mark.parametrize("name", ["model.json", "head.safetensors", "SHA256SUMS"])
def test_pipes_and_devices_are_refused(run: Path, name: str) -> None:
    """A pipe nobody writes to, or a link to an endless device, is refused at once."""
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    with pytest.raises(ArtefactError, match=f"{name}: found a folder, pipe or device"):
        load_head(run)
    (run / name).unlink()
    (run / name).symlink_to("/dev/zero")
    with pytest.raises(ArtefactError, match=f"{name}: found a folder, pipe or device"):
        load_head(run)


def test_an_unknown_activation_is_refused(run: Path) -> None:
    """A function that this imgreg cannot compute is named."""
    text = (run / "model.json").read_text()
    assert '"relu"' in text
    (run / "model.json").write_text(text.replace('"relu"', '"swish"'))
    with pytest.raises(ArtefactError, match="unknown activation 'swish'"):
        load_head(run)


def test_a_tuned_block_comes_back_and_another_is_refused(tmp_path: Path) -> None:
    """The card says which block it is; one of other bytes, and one of other shapes, is no block of this run."""
    block = {name: np.full(shape, 0.5, np.float32) for name, shape in tuned_shapes("block5").items()}
    save_head(tmp_path, card=CARD, heads=[WEIGHTS], blocks=[block])
    saved = load_head(tmp_path)
    assert saved.card.finetuned == "block5"
    np.testing.assert_array_equal(saved.blocks[0]["block5_conv2/kernel"], block["block5_conv2/kernel"])
    data = bytearray((tmp_path / BLOCK_FILE).read_bytes())
    data[-1] ^= 1
    (tmp_path / BLOCK_FILE).write_bytes(data)
    with pytest.raises(ArtefactError, match=r"block.safetensors: SHA-256 differs"):
        load_head(tmp_path)
    save_head(tmp_path, card=CARD, heads=[WEIGHTS], blocks=[block | {"block5_conv1/bias": np.zeros(3, np.float32)}])
    with pytest.raises(ArtefactError, match=r"block.safetensors: found arrays"):
        load_head(tmp_path)
