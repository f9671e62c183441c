"""index.py: what is found in folders and manifests, and what is said of the rest."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest

from conftest import paint, paint_set
from imgreg.data.discovery import photo_folders
from imgreg.data.index import index_photos, index_portions
from imgreg.errors import DatasetError


def names(photos) -> list[tuple[str, str, str | None]]:
    return [(photo.path.name, photo.label, photo.split) for photo in photos]


def test_class_folders(tmp_path: Path) -> None:
    """Folders are classes, in alphabetical order; hidden and system files are not photos."""
    paint_set(tmp_path, n_each=2)
    (tmp_path / "cold" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "cold" / "Thumbs.db").write_bytes(b"x")
    found = index_photos(tmp_path, max_bad=0)
    assert found.classes == ("cold", "warm")
    assert names(found.photos) == [
        ("c00.jpg", "cold", None),
        ("c01.jpg", "cold", None),
        ("w00.jpg", "warm", None),
        ("w01.jpg", "warm", None),
    ]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Validation"])
def test_split_folders(tmp_path: Path, val: str) -> None:
    """train, any spelling of val, and test above the classes give the split."""
    for split in ("train", val, "test"):
        paint_set(tmp_path / split, n_each=1)
    assert {photo.split for photo in index_photos(tmp_path, max_bad=0).photos} == {"train", "val", "test"}


def test_split_folders_beside_class_folders_are_refused(tmp_path: Path) -> None:
    """A class folder beside train/ is named, not passed over."""
    paint_set(tmp_path / "train", n_each=1)
    paint_set(tmp_path, n_each=1)
    with pytest.raises(DatasetError, match="found 'cold' next to 'train'"):
        index_photos(tmp_path, max_bad=0)


def test_a_class_called_test_is_a_class(tmp_path: Path) -> None:
    """Without train/, folders named test and val that hold photos are classes."""
    paint_set(tmp_path, n_each=1)
    (tmp_path / "cold").rename(tmp_path / "test")
    assert index_photos(tmp_path, max_bad=0).classes == ("test", "warm")


def test_manifest(tmp_path: Path) -> None:
    """A CSV's paths are relative to it; valid means val; the labels are its own."""
    paint_set(tmp_path / "photos", n_each=1)
    manifest = tmp_path / "set.csv"
    manifest.write_text("path,label,split\nphotos/cold/c00.jpg,blue,train\nphotos/warm/w00.jpg,red,valid\n")
    assert names(index_photos(manifest, max_bad=0).photos) == [
        ("c00.jpg", "blue", "train"),
        ("w00.jpg", "red", "val"),
    ]


def test_json_lines_manifest(tmp_path: Path) -> None:
    """One object per line, with the same columns; other keys are left alone, and labels may be numbers."""
    paint_set(tmp_path / "photos", n_each=1)
    manifest = tmp_path / "set.jsonl"
    rows = [
        {"file_name": "photos/cold/c00.jpg", "label": 0, "text": "a\u2028b"},
        {"file_name": "photos/warm/w00.jpg", "label": 1, "split": "validation"},
    ]
    manifest.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n", encoding="utf-8")
    assert names(index_photos(manifest, max_bad=0).photos) == [("c00.jpg", "0", None), ("w00.jpg", "1", "val")]


def test_a_manifest_may_name_manifests(tmp_path: Path) -> None:
    """Their rows stand in their place, with paths from their own folders; a second level is refused."""
    paint_set(tmp_path / "photos", n_each=1)
    (tmp_path / "photos" / "part-0.csv").write_text("path,label\ncold/c00.jpg,blue\n")
    (tmp_path / "part-1.jsonl").write_text('{"path": "photos/warm/w00.jpg", "label": "red"}\n')
    (tmp_path / "all.jsonl").write_text('{"path": "photos/part-0.csv", "split": "val"}\n{"path": "part-1.jsonl"}\n')
    found = index_photos(tmp_path / "all.jsonl", max_bad=0)
    assert names(found.photos) == [("c00.jpg", "blue", "val"), ("w00.jpg", "red", None)]
    assert photo_folders(tmp_path / "all.jsonl") == {tmp_path / "photos" / name for name in ("cold", "warm")}
    (tmp_path / "part-1.jsonl").write_text('{"path": "all.jsonl"}\n')
    with pytest.raises(DatasetError, match=r"part-1\.jsonl, line 1: names another manifest"):
        index_photos(tmp_path / "all.jsonl", max_bad=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"path": "a.jpg"}', "line 1: found columns path. Expected the columns"),
        ('{"path": "a.jpg", "label": "x"}\n{"path"', "line 2: not JSON"),
        ("[1, 2]", "line 1: found list, not an object"),
    ],
)
def test_json_lines_errors_say_where(tmp_path: Path, text: str, message: str) -> None:
    """The line, and what was expected."""
    (tmp_path / "set.jsonl").write_text(text)
    with pytest.raises(DatasetError, match=message):
        index_photos(tmp_path / "set.jsonl", max_bad=0)


def test_a_metadata_file_gives_the_labels(tmp_path: Path) -> None:
    """As Hugging Face's ImageFolder: the table decides, in the folder or in each split folder; a note says so."""
    paint_set(tmp_path / "all" / "photos", n_each=1)
    table = "file_name,caption,label\nphotos/cold/c00.jpg,ice,blue\nphotos/warm/w00.jpg,fire,red\n"
    (tmp_path / "all" / "metadata.csv").write_text(table)
    index = index_photos(tmp_path / "all", max_bad=0)
    assert names(index.photos) == [("c00.jpg", "blue", None), ("w00.jpg", "red", None)]
    assert index.notes[0].startswith("Labels come from metadata.csv;")
    for split in ("train", "validation"):
        paint_set(tmp_path / "parts" / split / "x", n_each=1)
        rows = [{"file_name": f"x/{n}/{n[0]}00.jpg", "label": n} for n in ("cold", "warm")]
        (tmp_path / "parts" / split / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = names(index_photos(tmp_path / "parts", max_bad=0).photos)
    assert found == [(f"{n[0]}00.jpg", n, split) for split in ("train", "val") for n in ("cold", "warm")]
    (tmp_path / "parts" / "validation" / "metadata.jsonl").unlink()
    with pytest.raises(DatasetError, match=r"validation: found no metadata.csv or metadata.jsonl with file_name"):
        index_photos(tmp_path / "parts", max_bad=0)


def test_a_metadata_file_without_labels_leaves_them_to_the_folders(tmp_path: Path) -> None:
    """Captions beside class folders are no labels."""
    paint_set(tmp_path, n_each=1)
    (tmp_path / "metadata.csv").write_text("file_name,caption\ncold/c00.jpg,ice\n")
    assert index_photos(tmp_path, max_bad=0).classes == ("cold", "warm")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.jpg,x\n", "found columns file, label"),
        ("path,label\na.jpg,\n", "line 2: path or label is empty"),
        ("path,label,split\na.jpg,x,holdout\n", "line 2: found split 'holdout'"),
    ],
)
def test_manifest_errors_say_where(tmp_path: Path, text: str, message: str) -> None:
    """A manifest that means nothing is refused by line or column."""
    (tmp_path / "set.csv").write_text(text)
    with pytest.raises(DatasetError, match=message):
        index_photos(tmp_path / "set.csv", max_bad=0)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")
def test_bad_files_are_listed_with_reasons(tmp_path: Path) -> None:
    """What cannot be read is listed with its reason, and the rest goes on."""
    paint_set(tmp_path, n_each=10)
    (tmp_path / "cold" / "notes.txt").write_text("hello")
    (tmp_path / "warm" / "x.jpg").mkdir()  # an empty folder named like a photo holds nothing
    os.mkfifo(tmp_path / "warm" / "pipe.jpg")
    found = index_photos(tmp_path, max_bad=0.1)
    assert len(found.photos) == 20
    assert {bad.path.name: bad.reason for bad in found.skipped} == {
        "notes.txt": "not a photo in a known format (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF)",
        "pipe.jpg": "not a regular file",
    }


def test_too_many_bad_files_stop(tmp_path: Path) -> None:
    """More than max_bad unreadable files end the command, and the first are named."""
    paint_set(tmp_path, n_each=5)
    (tmp_path / "cold" / "bad.jpg").write_bytes(b"")
    with pytest.raises(
        DatasetError, match=r"1 of 11 files cannot be read.*--max-bad 0.05(?s:.*)bad.jpg: the file is empty"
    ):
        index_photos(tmp_path, max_bad=0.05)


def test_one_class_is_an_error(tmp_path: Path) -> None:
    """One class folder is named, and what was expected is said."""
    paint(tmp_path / "cats" / "a.jpg", warm=True, seed=0)
    with pytest.raises(DatasetError, match=r"found 1 class \(cats\), expected 2 or more"):
        index_photos(tmp_path, max_bad=0)


def test_an_empty_class_is_an_error(tmp_path: Path) -> None:
    """An empty class folder is not passed over."""
    paint_set(tmp_path, n_each=1)
    (tmp_path / "zebra").mkdir()
    with pytest.raises(DatasetError, match="zebra: the class folder is empty"):
        index_photos(tmp_path, max_bad=0)


def test_no_such_folder(tmp_path: Path) -> None:
    """A path that is not there is named."""
    with pytest.raises(DatasetError, match="nowhere: no such file or folder. Expected a folder"):
        index_photos(tmp_path / "nowhere", max_bad=0)


def test_a_mistyped_folder(tmp_path: Path) -> None:
    """The folder that was probably meant is named, also where an upper part of the path is mistyped."""
    paint_set(tmp_path / "photos" / "pets", n_each=1)
    for typed in (tmp_path / "photos" / "petz", tmp_path / "fotos" / "pets"):
        with pytest.raises(DatasetError, match=f"Did you mean {tmp_path}/photos/pets"):
            photo_folders(typed)


def test_classes_one_level_below(tmp_path: Path) -> None:
    """Years with the same classes inside are refused, by name; with a photo beside them, or other folders, they are
    taken for classes, and a note names the folders inside."""
    for year in ("2023", "2024"):
        paint_set(tmp_path / "years" / year, n_each=1)
    with pytest.raises(DatasetError, match=r"each of its folders \(2023, 2024\) .* cold, warm.* pass .*years/2023,"):
        index_photos(tmp_path / "years", max_bad=0)
    (tmp_path / "years" / "2024" / "warm").rename(tmp_path / "years" / "2024" / "hot")
    found = index_photos(tmp_path / "years", max_bad=0)
    assert found.classes == ("2023", "2024")
    assert found.notes == (
        "4 folders inside the class folders (2023/cold, 2023/warm, 2024/cold, ...): their photos count as photos "
        "of the class above.",
    )
    (tmp_path / "years" / "2024" / "hot").rename(tmp_path / "years" / "2024" / "warm")
    paint(tmp_path / "years" / "2024" / "a.jpg", warm=True, seed=9)
    assert index_photos(tmp_path / "years", max_bad=0).classes == ("2023", "2024")


def test_names_of_any_kind(tmp_path: Path) -> None:
    """Hangul, spaces, quotes, newlines and bytes that are not UTF-8 are all just names."""
    odd = [
        "개미 사진.jpg",
        'a "b".jpg',
        "line\nbreak.jpg",
        "<script>.jpg",
        "=1+1.jpg",
        "-rf.jpg",
        os.fsdecode(b"\xff\xfe.jpg"),
    ]
    paint_set(tmp_path, n_each=1)
    for number, name in enumerate(odd):
        paint(tmp_path / "cold" / "x.jpg", warm=False, seed=100 + number)
        (tmp_path / "cold" / "x.jpg").rename(tmp_path / "cold" / name)
    found = index_photos(tmp_path, max_bad=0)
    assert {photo.path.name for photo in found.photos} == {*odd, "c00.jpg", "w00.jpg"}


def test_one_class_in_two_unicode_forms_is_one(tmp_path: Path) -> None:
    """Hangul written as NFC in train and as NFD in val is the same class."""
    for split, form in (("train", "NFC"), ("val", "NFD")):
        for label, warm in (("개미", False), ("벌", True)):
            paint(
                tmp_path / split / unicodedata.normalize(form, label) / "a.jpg",
                warm=warm,
                seed=len(split) + warm,
            )
    assert index_photos(tmp_path, max_bad=0).classes == ("개미", "벌")


def test_split_folders_without_train_are_refused(tmp_path: Path) -> None:
    """val/ with classes in it is not mistaken for a class."""
    for split in ("val", "test"):
        paint_set(tmp_path / split, n_each=1)
    with pytest.raises(DatasetError, match="found 'test' with class folders in it, but no train/"):
        index_photos(tmp_path, max_bad=0)


def test_files_beside_the_classes_are_told(tmp_path: Path) -> None:
    """A photo that no class can be told for is named, not passed over."""
    paint_set(tmp_path, n_each=1)
    paint(tmp_path / "loose.jpg", warm=True, seed=9)
    (tmp_path / "SOURCE.txt").write_text("where these come from")
    found = index_photos(tmp_path, max_bad=0)
    assert len(found.photos) == 2
    assert found.notes == ("1 photo is outside the class folders and not used: loose.jpg.",)


def test_one_picture_in_two_classes_is_told(tmp_path: Path) -> None:
    """The same bytes under two labels cannot both be right."""
    paint_set(tmp_path, n_each=2)
    (tmp_path / "warm" / "copy.jpg").write_bytes((tmp_path / "cold" / "c00.jpg").read_bytes())
    found = index_photos(tmp_path, max_bad=0)
    assert found.notes == ()
    assert found.cross_class.startswith("1 picture appears in more than one class (identical files)")


def test_a_manifest_keeps_line_ends_inside_quotes(tmp_path: Path) -> None:
    """A quoted path may hold a line end, as it may on disk."""
    paint_set(tmp_path, n_each=1)
    (tmp_path / "cold" / "c00.jpg").rename(tmp_path / "cold" / "a\nb.jpg")
    (tmp_path / "set.csv").write_text('path,label\n"cold/a\nb.jpg",cold\nwarm/w00.jpg,warm\n')
    found = index_photos(tmp_path / "set.csv", max_bad=0)
    assert [photo.path.name for photo in found.photos] == ["a\nb.jpg", "w00.jpg"]


def test_portions_are_the_whole_in_parts(tmp_path: Path) -> None:
    """The same photos, skipped files and classes, though a portion may have one class only. What is refused of the
    whole is refused of portions."""
    paint_set(tmp_path, n_each=4)
    (tmp_path / "cold" / "x.jpg").write_bytes(b"no photo")
    whole, seen = index_photos(tmp_path, max_bad=0.2), list[tuple[int, int]]()
    parts = list(index_portions(tmp_path, n_files=2, max_bad=0.2, on_file=lambda *done: seen.append(done)))
    assert [n_left for _, n_left in parts] == [7, 5, 3, 1, 0]
    assert sum((part.photos for part, _ in parts), ()) == whole.photos
    assert sum((part.skipped for part, _ in parts), ()) == whole.skipped
    assert {part.classes for part, _ in parts} == {whole.classes}
    assert (seen[-1], max(total for _, total in seen)) == ((9, 9), 9)
    with pytest.raises(DatasetError, match="1 of 9 files cannot be read"):
        list(index_portions(tmp_path, n_files=2, max_bad=0))
    for path in (tmp_path / "warm").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match="class 'warm' has no readable photo"):
        list(index_portions(tmp_path, n_files=2, max_bad=1))
