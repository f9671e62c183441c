"""members.py, tar_members.py, parquet_rows.py: photos inside larger files are the same photos."""

from __future__ import annotations

import io
import json
import random
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from conftest import imgreg, paint_set
from imgreg.data.decode import read_bytes
from imgreg.data.discovery import list_files, photo_folders, photos_below
from imgreg.data.file_cache import stamp_of
from imgreg.data.index import PhotoIndex, index_photos
from imgreg.data.parquet_rows import labelled_rows, read_row
from imgreg.data.tar_members import labelled_photos
from imgreg.errors import DatasetError, PhotoError


def write_tar(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint_set(tmp_path_factory.mktemp("members") / "folders", n_each=4)


def photos(folders: Path) -> list[tuple[str, bytes, str]]:
    """(name without suffix, bytes, class) of each"""
    return [(path.stem, path.read_bytes(), path.parent.name) for path in sorted(folders.glob("*/*"))]


def write_parquet(path: Path, rows: list[dict[str, object]], **metadata: object) -> Path:
    pyarrow = pytest.importorskip("pyarrow", reason="install imgreg[parquet] to read Parquet files")
    from pyarrow import parquet

    table = pyarrow.Table.from_pylist(rows)
    if metadata:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": metadata}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=3)
    return path


def found(index: PhotoIndex) -> list[tuple[str, str, str | None]]:
    return [(index.relative(photo), photo.label, photo.split) for photo in index.photos]


def left_out(index: PhotoIndex) -> dict[str, str]:
    return {index.relative(one): f"{one.code}: {one.reason}" for one in index.skipped}


@pytest.mark.parametrize("kind", ["cls", "txt", "json"])
def test_tar_files_hold_the_same_photos_as_folders(folders: Path, tmp_path: Path, kind: str) -> None:
    """Hashes and labels are those of class folders; a member is named by its tar; a number counts classes.txt."""
    for shard in range(2):
        members = []
        for key, data, label in photos(folders)[shard::2]:
            number = ["cold", "warm"].index(label)
            text = {"cls": f"{number}\n", "txt": label, "json": json.dumps({"label": number, "caption": "x"})}[kind]
            members += [(f"deep/{key}.jpg", data), (f"deep/{key}.{kind}", text.encode()), (f"deep/{key}.npy", b"")]
        write_tar(tmp_path / f"pets-{shard}.tar", members)
    (tmp_path / "classes.txt").write_text("cold\nwarm\n")
    index = index_photos(tmp_path, max_bad=0)
    assert index.digest == index_photos(folders, max_bad=0).digest
    assert found(index)[0] == ("pets-0.tar::deep/c00.jpg", "cold", None)
    assert index_photos(tmp_path / "pets-0.tar", max_bad=0).photos == index.photos[:4]


def test_parquet_files_hold_the_same_photos_as_folders(folders: Path, tmp_path: Path) -> None:
    """As Hugging Face writes them: bytes in a struct, ClassLabel's names in the metadata, splits in files' names."""
    rows = [
        {"image": {"bytes": data, "path": f"{key}.png"}, "label": ["cold", "warm"].index(label)}
        for key, data, label in photos(folders)
    ]
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cold", "warm"]}}
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows[::2], **features)
    write_parquet(tmp_path / "data" / "validation-00000-of-00001.parquet", rows[1::2], **features)
    index = index_photos(tmp_path, max_bad=0)
    assert index.digest == index_photos(folders, max_bad=0).digest
    assert found(index)[3] == ("data/train-00000-of-00001.parquet::3", "warm", "train")
    assert {photo.split for photo in index.photos} == {"train", "val"}
    assert [str(path) for path in photos_below(tmp_path)] == [photo.where for photo in index.photos]


def test_string_labels_and_plain_bytes_in_parquet(folders: Path, tmp_path: Path) -> None:
    """A label may be a name and an image plain bytes; rows without a label or bytes are left out and named."""
    rows: list[dict[str, object]] = [{"image": data, "label": label} for _, data, label in photos(folders)]
    rows += [{"image": rows[0]["image"], "label": None}, {"image": None, "label": "warm"}]
    index = index_photos(write_parquet(tmp_path / "pets.parquet", rows), max_bad=0.5)
    assert index.digest == index_photos(folders, max_bad=0).digest
    assert left_out(index) == {
        "pets.parquet::8": "no-label: it has no label",
        "pets.parquet::9": "empty: the row has no image bytes (a path alone is not read)",
    }


def test_a_table_without_labels_or_images_says_what_it_has(tmp_path: Path) -> None:
    """The columns that there are, and what was expected; a file that is none, or not a whole one, is called that."""
    table = write_parquet(tmp_path / "x.parquet", [{"picture": b"x", "kind": 1}])
    with pytest.raises(DatasetError, match="no column of image bytes among picture, kind; expected one called image"):
        index_photos(table, max_bad=0)
    whole = table.read_bytes()
    for data, reason in (
        (b"path,label", "not a Parquet file. Expected"),
        (b"", "not a Parquet file"),
        (whole[:-4], "without its end"),
        (b"PARE" + whole[4:], "encrypted"),
        (whole[:-9] + b"x" + whole[-8:], "damaged Parquet file"),
    ):
        table.write_bytes(data)
        with pytest.raises(DatasetError, match=rf"x\.parquet: .*{reason}"):
            index_photos(table, max_bad=0)


def test_random_damage_to_a_table_is_only_told(folders: Path, tmp_path: Path) -> None:
    """Whatever bytes of its end change, listing and reading give photos or PhotoError."""
    rows: list[dict[str, object]] = [{"image": {"bytes": data}, "label": label} for _, data, label in photos(folders)]
    whole = write_parquet(tmp_path / "x.parquet", rows).read_bytes()
    draw, n_told = random.Random(0), 0
    for n in range(60):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            data[-1 - draw.randrange(2000)] = draw.randrange(256)
        table = tmp_path / f"{n}.parquet"
        table.write_bytes(data)
        try:
            for row in range(len(labelled_rows(str(table), split=None))):
                read_row(str(table), str(row))
        except PhotoError:
            n_told += 1
    assert n_told > 20


def test_bad_members_are_named_and_left_out(folders: Path, tmp_path: Path) -> None:
    """Each for its own reason; the others are used."""
    members = [
        item for key, data, label in photos(folders) for item in ((f"{key}.jpg", data), (f"{key}.txt", label.encode()))
    ]
    data = members[0][1]
    bad = [
        ("a.jpg", b"not a photo"), ("a.cls", b"cold"), ("b.jpg", data), ("c.jpg", data), ("c.cls", b"-1"),
        ("d.jpg", data), ("d.json", b"{"), ("e.jpg", data), ("e.json", b'{"x": 1}'), ("f.jpg", data),
        ("f.txt", b"a caption\nof two lines"), ("g.cls", b"cold"),
    ]  # fmt: skip
    tar = write_tar(tmp_path / "pets.tar", members + bad)
    with tarfile.open(tar, "a") as file:
        link = tarfile.TarInfo("h.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    index = index_photos(tar, max_bad=0.6)
    assert index.digest == index_photos(folders, max_bad=0).digest
    reasons = left_out(index)
    assert reasons.pop("pets.tar::a.jpg").startswith("unsupported: not a photo")
    assert reasons == {
        "pets.tar::b.jpg": "no-label: no .cls, .txt or .json member beside it",
        "pets.tar::c.jpg": "no-label: its label is -1",
        "pets.tar::d.jpg": "no-label: its .json member is not JSON",
        "pets.tar::e.jpg": "no-label: its .json member has none of the keys label, cls, class",
        "pets.tar::f.jpg": "no-label: its label is not a one-line class name",
        "pets.tar::g.cls": "missing: no photo beside it",
        "pets.tar::h.jpg": "not-a-file: a link, device or sparse file in the tar",
    }


@pytest.mark.parametrize("name", ["../../outside.jpg", "/outside.jpg", "a/../../outside.jpg", "::.jpg"])
def test_a_members_name_leads_nowhere(folders: Path, tmp_path: Path, name: str) -> None:
    """It is read from the tar whatever it is called, and nothing appears on the disk."""
    data = photos(folders)[0][1]
    tar = write_tar(tmp_path / "in" / "x.tar", [(name, data), (f"{name[:-4]}.cls", b"cold")])
    before = sorted(tmp_path.rglob("*"))
    (listed,) = list_files(tar)
    assert read_bytes(Path(listed.where)) == data
    assert sorted(tmp_path.rglob("*")) == before
    assert photo_folders(tar) == {tmp_path / "in"}


def test_a_cut_or_damaged_tar_gives_what_is_whole(folders: Path, tmp_path: Path) -> None:
    """The photos before the damage are used; the damage is told, also where tarfile takes it for the end."""
    members = [
        item for key, data, label in photos(folders) for item in ((f"{key}.txt", label.encode()), (f"{key}.jpg", data))
    ]
    tar = write_tar(tmp_path / "x.tar", members)
    whole = tar.read_bytes()
    with tarfile.open(tar) as file:
        places = {one.name: one for one in file.getmembers()}
    tar.write_bytes(whole[: places["w03.jpg"].offset_data + 100])
    cut = index_photos(tar, max_bad=0.9)
    assert len(cut.photos) == 7
    assert left_out(cut)["x.tar::w03.jpg"] == "truncated: the tar ends inside this member"
    start = places["w02.txt"].offset
    tar.write_bytes(whole[:start] + b"x" * 512 + whole[start + 512 :])
    damaged = index_photos(tar, max_bad=0.9)
    assert len(damaged.photos) == 6
    assert left_out(damaged)["x.tar"].startswith(f"damaged: damaged at byte {start:,}")


def test_random_damage_to_a_tar_is_only_told(folders: Path, tmp_path: Path) -> None:
    """Whatever bytes change, listing and reading give photos or PhotoError."""
    members = [
        item for key, data, label in photos(folders) for item in ((f"{key}.cls", label.encode()), (f"{key}.jpg", data))
    ]
    whole = write_tar(tmp_path / "x.tar", members).read_bytes()
    draw = random.Random(0)
    for n in range(150):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            data[512 * draw.randrange(len(data) // 512) + draw.randrange(512)] = draw.randrange(256)
        (tmp_path / f"{n}.tar").write_bytes(data[: draw.choice([len(data), draw.randrange(len(data))])])
        for listed in list_files(tmp_path / f"{n}.tar"):
            try:
                read_bytes(Path(listed.where))
            except PhotoError:
                continue


def test_what_is_no_tar_is_told(tmp_path: Path) -> None:
    """A compressed tar, another file and an empty one, in words that say what to do."""
    for name, data, says in (
        ("a", b"\x1f\x8b\x08", "a compressed tar"),
        ("b", b"hello", "not a tar"),
        ("c", b"", "not a tar"),
    ):
        (tmp_path / f"{name}.tar").write_bytes(data)
        with pytest.raises(PhotoError, match=says):
            list(labelled_photos(str(tmp_path / f"{name}.tar"), split=None))
    with pytest.raises(DatasetError, match=r"3 left out, the first: .*a\.tar: a compressed tar"):
        index_photos(tmp_path, max_bad=1)


def test_a_manifest_names_members_and_whole_files(folders: Path, tmp_path: Path) -> None:
    """A row may name one member with its label, or a tar with neither; its split counts for all in it."""
    members = [
        item for key, data, label in photos(folders) for item in ((f"{key}.jpg", data), (f"{key}.cls", label.encode()))
    ]
    write_tar(tmp_path / "sub" / "x.tar", members)
    rows = [{"path": "sub/x.tar", "split": "val"}, {"path": "sub/x.tar::c00.jpg", "label": 0}]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, rows)))
    listed = list(list_files(tmp_path / "all.jsonl"))
    assert [(one.label, one.split) for one in listed[3:]] == [("cold", "val"), *[("warm", "val")] * 4, ("0", None)]
    assert photo_folders(tmp_path / "all.jsonl") == {tmp_path / "sub"}


def test_a_member_is_known_by_its_tar(folders: Path, tmp_path: Path) -> None:
    """A tar that changes is read again, also by a process that has read it."""
    tar = tmp_path / "x.tar"
    first, second = photos(folders)[0][1], photos(folders)[1][1]
    for data in (first, second):
        write_tar(tar, [("pad.txt", data), ("k.jpg", data)])
        assert read_bytes(Path(f"{tar}::k.jpg")) == data
    assert stamp_of(f"{tar}::k.jpg") == stamp_of(str(tar))
    with pytest.raises(PhotoError, match="has no such member"):
        read_bytes(Path(f"{tar}::none.jpg"))


def test_a_tar_beside_class_folders_is_no_dataset(folders: Path, tmp_path: Path) -> None:
    """Someone's backup does not take the folders' place."""
    paint_set(tmp_path, n_each=1)
    write_tar(tmp_path / "backup.tar", [("k.jpg", b"")])
    assert len(index_photos(tmp_path, max_bad=0).photos) == 2


def test_commands_work_on_members(trained, tmp_path: Path) -> None:
    """check, its manifest, evaluate and predict: the answers are those of the same photos as files."""
    members = [
        item
        for path in sorted(trained.data.glob("*/*"))
        for item in ((f"{path.stem}.jpg", path.read_bytes()), (f"{path.stem}.cls", path.parent.name.encode()))
    ]
    (first, data), (_, label) = members[2:4]  # after broken.jpg
    tar = write_tar(tmp_path / "x.tar", [*members, ("copy.jpg", data), ("copy.cls", label)])
    (tmp_path / "out").mkdir()
    fixed = tmp_path / "out" / "clean.csv"
    done = imgreg("check", tar, "--fix", fixed, "--weights", "starter", "--json")
    groups = {one["code"]: one["files"] for one in done.json["findings"]}
    assert groups["copies"] == [[f"x.tar::{first}", "x.tar::copy.jpg"]]
    assert groups["unsupported"] == [["x.tar::broken.jpg"]]
    assert "../x.tar::" in fixed.read_text()
    assert index_photos(fixed, max_bad=0).digest == index_photos(trained.data, max_bad=1).digest
    assert imgreg("evaluate", trained.folder, fixed, "--json").json["n_photos"] == len(members) // 2 - 1
    done = imgreg("predict", tar, trained.data, "--run", trained.folder, "--json")
    answers = {one["path"]: one.get("probability") for one in map(json.loads, done.out.splitlines())}
    for path in trained.data.glob("*/*"):
        assert answers[f"{tar}::{path.name}"] == answers[str(path)]
    assert answers[f"{tar}::copy.jpg"] == answers[f"{tar}::{first}"] is not None


def test_odd_labels_are_named(tmp_path: Path) -> None:
    """Labels that are no names or numbers: the photo is left out, not the tar."""
    (tmp_path / "classes.txt").write_text("cats\n\ndogs\n")
    labels = {"a.cls": b"--5", "b.json": b'{"label": "\\ud800"}', "c.cls": b"1", "d.cls": b"2"}
    with tarfile.open(tmp_path / "pets.tar", "w") as tar:
        for name, data in {**labels, **{f"{name[0]}.jpg": b"x" for name in labels}}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    found = {item.where[-5]: item.label or str(item.problem) for item in list_files(tmp_path / "pets.tar")}
    assert found == {
        "a": "--5",
        "b": "its label is not valid Unicode",
        "c": "its label is 1, an empty line of the class names",
        "d": "dogs",
    }
