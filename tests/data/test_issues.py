"""What is found in a set of photos, each with its code."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import paint, paint_set
from imgreg.data.index import index_photos
from imgreg.data.issues import connected, inspect


def found(root: Path, **options) -> dict:
    return {one.code: one for one in inspect(index_photos(root, max_bad=1), **options)}


def test_a_good_set_has_no_findings(tmp_path: Path) -> None:
    """Twenty photos of each class, all as they should be."""
    assert found(paint_set(tmp_path, n_each=20)) == {}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")
def test_each_odd_file_has_its_code(tmp_path: Path) -> None:
    """Every way to be left out, and every oddity of a file that is used."""
    paint_set(tmp_path, n_each=20)
    odd = tmp_path / "cold"
    (odd / "empty.jpg").write_bytes(b"")
    (odd / "text.jpg").write_bytes(b"hello")
    (odd / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 40)
    whole = (odd / "c00.jpg").read_bytes()
    (odd / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("1", (20_000, 20_000)).save(odd / "bomb.png")
    (odd / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(odd / "pipe.jpg")
    (odd / "folder.jpg").mkdir()
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8))
    noise.save(odd / "really.jpg", "PNG")
    noise.resize((20, 20)).save(odd / "tiny.png")
    Image.new("RGB", (64, 64), "red").save(odd / "red.png")
    noise.save(odd / "film.gif", save_all=True, append_images=[noise.rotate(90)], duration=100)
    exif = Image.Exif()
    exif[0x0112] = 6
    noise.transpose(Image.Transpose.ROTATE_180).save(odd / "turned.jpg", exif=exif)
    codes = {code: [path for group in one.files for path in group] for code, one in found(tmp_path).items()}
    assert codes == {
        "empty": ["cold/empty.jpg"],
        "unsupported": ["cold/phone.heic", "cold/text.jpg"],
        "truncated": ["cold/cut.jpg"],
        "too-large": ["cold/bomb.png"],
        "missing": ["cold/gone.jpg"],
        "not-a-file": ["cold/pipe.jpg"],
        "wrong-extension": ["cold/really.jpg"],
        "too-small": ["cold/tiny.png"],
        "one-colour": ["cold/red.png"],
        "animated": ["cold/film.gif"],
        "turned": ["cold/turned.jpg"],
    }
    heic = found(tmp_path)["unsupported"]
    assert "HEIC" in heic.details[0]
    assert heic.severity == "left out"


def test_copies_are_told_by_where_they_stand(tmp_path: Path) -> None:
    """In one class they are harmless; in two classes, or on two sides of a given split, they stop training."""
    for split in ("train", "val"):
        paint_set(tmp_path / split, n_each=20, seed=0 if split == "train" else 1000)
    copies = {
        "train/cold/again.jpg": "train/cold/c01.jpg",
        "val/cold/leak.jpg": "train/cold/c02.jpg",
        "train/warm/torn.jpg": "train/cold/c03.jpg",
    }
    for copy, photo in copies.items():
        (tmp_path / copy).write_bytes((tmp_path / photo).read_bytes())
    codes = found(tmp_path)
    assert {code: one.severity for code, one in codes.items()} == {
        "copies-across-classes": "stops training",
        "leak": "stops training",
        "copies": "for your information",
    }
    assert codes["leak"].files == (("train/cold/c02.jpg", "val/cold/leak.jpg"),)
    assert codes["copies-across-classes"].files == (("train/cold/c03.jpg", "train/warm/torn.jpg"),)
    assert codes["copies"].files == (("train/cold/again.jpg", "train/cold/c01.jpg"),)


def test_the_same_picture_with_other_bytes_is_told_by_where_it_stands(tmp_path: Path) -> None:
    """As copies are, but nothing stops: what a network says is no proof."""
    paint_set(tmp_path, n_each=20)
    index = index_photos(tmp_path, max_bad=0)
    row = {index.relative(photo): i for i, photo in enumerate(index.photos)}
    same = [(row["cold/c00.jpg"], row["cold/c01.jpg"]), (row["cold/c05.jpg"], row["warm/w05.jpg"])]
    codes = {one.code: one for one in inspect(index, same=same)}
    assert codes["near-copies"].files == (("cold/c00.jpg", "cold/c01.jpg"),)
    assert codes["near-across-classes"].files == (("cold/c05.jpg", "warm/w05.jpg"),)
    assert codes["near-across-classes"].severity == "take care"


def test_unequal_and_small_classes_are_told(tmp_path: Path) -> None:
    """With the counts, and what is too few."""
    for number in range(40):
        paint(tmp_path / "many" / f"{number}.jpg", warm=True, seed=number)
    for number in range(12):
        paint(tmp_path / "few" / f"{number}.jpg", warm=False, seed=100 + number)
    codes = found(tmp_path)
    assert codes["imbalance"].says == "class 'many' has 40 photos, 'few' has 12"
    assert codes["few-photos"].says == "class 'few' has 12 photos"


@pytest.mark.parametrize(
    ("pairs", "groups"),
    [([], []), ([(3, 1)], [[1, 3]]), ([(1, 2), (3, 4), (2, 3)], [[1, 2, 3, 4]]), ([(1, 2), (2, 1)], [[1, 2]])],
)
def test_pairs_make_groups(pairs: list, groups: list) -> None:
    """Whatever the order in which links come."""
    assert connected(pairs) == groups
