"""store_listing.py, reading.py: photos in an object store are listed as those of its local copy, and read where they
are."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from conftest import paint_set
from hostile import behave
from imgreg.data import store_copy, stores
from imgreg.data.discovery import list_files, notes_on_folders
from imgreg.data.file_cache import FileCache, made_by
from imgreg.data.index import PhotoIndex, index_photos, index_portions
from imgreg.data.listed import Listed
from imgreg.data.reading import Facts, FileReader, read_here
from imgreg.data.store_copy import local_copy
from imgreg.data.store_listing import open_listing
from imgreg.errors import DatasetError, MachineError, PhotoError
from imgreg.paths import store_address
from imgreg.progress import Watcher
from s3_server import Server, obstore, running_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint_set(tmp_path_factory.mktemp("stores") / "folders", n_each=4)


@pytest.fixture
def bucket(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket, and an empty cache; objects come three at a time."""
    monkeypatch.setattr(stores, "PORTION", 3)
    monkeypatch.setattr(store_copy, "PORTION", 3)
    monkeypatch.setenv("IMGREG_CACHE", str(tmp_path / "cache"))
    name = f"b{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"
    server.make_bucket(name)
    return name


def put(server: Server, bucket: str, folder: Path, *, below: str = "") -> None:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    server.put(bucket, {f"{below}{key}": data for key, data in files.items()})
    server.asked.clear()


def names_of(items: Iterator[Listed]) -> list[tuple[str, str, str | None, str]]:
    return [(store_address(item.where), item.label, item.split, str(item.problem or "")) for item in items]


def listed(address: str) -> tuple[list[tuple[str, str, str | None, str]], list[str]]:
    with open_listing(Path(address), watcher=Watcher()) as listing:
        assert listing is not None
        return names_of(listing.files()), list(listing.notes())


def copied(address: str) -> tuple[list[tuple[str, str, str | None, str]], list[str]]:
    copy = local_copy(Path(address), watcher=Watcher())
    return names_of(list_files(copy)), list(notes_on_folders(copy))


def with_odd_names(folders: Path, root: Path) -> Path:
    """Class folders whose names sort in another way as keys than as folders, with what is left out and noted."""
    shutil.copytree(folders, root)
    photo = (root / "cold" / "c00.jpg").read_bytes()
    for name in ("cold/deep/z.jpg", "cold/deeper/a.jpg", "cold-2/é.png", "cold-2/a b+c%20.jpg", "cold/deep-1.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(photo)
    for name in ("loose.jpg", "cold/.hidden.jpg", ".git/x.jpg", "cold/Thumbs.db", "warm/notes.txt", "warm/film.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def in_splits(folders: Path, root: Path) -> Path:
    for split in ("train", "validation"):
        shutil.copytree(folders, root / split)
    return root


def with_metadata(folders: Path, root: Path) -> Path:
    shutil.copytree(folders, root / "all")
    rows = [f"all/{label}/{label[0]}0{n}.jpg,{label}" for n in (2, 0, 9) for label in ("warm", "cold")]
    (root / "metadata.csv").write_text("\n".join(["file_name,label", *rows]))
    return root


def in_tars(folders: Path, root: Path) -> Path:
    """With class names beside the tar file."""
    (root / "train").mkdir(parents=True)
    with tarfile.open(root / "train" / "a.tar", "w") as tar:
        for number, path in enumerate(sorted(folders.glob("*/*"))):
            label = root / "label"
            label.write_text(str(number % 2))
            tar.add(path, f"{number}.jpg")
            tar.add(label, f"{number}.cls")
            label.unlink()
    (root / "classes.txt").write_text("cats\ndogs\n")
    return root


@pytest.mark.parametrize("layout", [with_odd_names, in_splits, with_metadata, in_tars])
def test_a_listing_is_that_of_the_copy(layout, server: Server, folders: Path, bucket: str, tmp_path: Path) -> None:
    """The same places, labels, splits, problems and notes in the same order, and no photo is asked for."""
    put(server, bucket, layout(folders, tmp_path / "data"), below="pets/")
    found = listed(f"s3://{bucket}/pets")
    assert len(found[0]) >= 6
    assert not [key for key in server.asked if key.endswith((".jpg", ".png"))]
    assert found == copied(f"s3://{bucket}/pets")
    own = [item for item in list_files(tmp_path / "data") if not item.where.endswith(".mp4")]  # no copy has these
    assert [(where.replace(f"s3://{bucket}/pets", ""), *rest) for where, *rest in found[0]] == [
        (where.replace(str(tmp_path / "data"), ""), *rest) for where, *rest in names_of(iter(own))
    ]


def test_a_manifest_is_listed_as_its_copy(server: Server, folders: Path, bucket: str) -> None:
    """One that names another; objects that are not there are listed, and found missing when they are read."""
    rows = [{"path": f"{label}/{label[0]}0{n}.jpg", "label": label} for label in ("cold", "warm") for n in (0, 9, 1)]
    put(server, bucket, folders, below="pets/")
    server.put(
        bucket,
        {
            "pets/some.jsonl": "\n".join(map(json.dumps, rows)).encode(),
            "pets/all.jsonl": b'{"path": "some.jsonl", "split": "val"}\n',
            "bad.csv": b"path,label\n../x.jpg,cold\n",
        },
    )
    server.asked.clear()
    found = listed(f"s3://{bucket}/pets/all.jsonl")
    assert not [key for key in server.asked if key.endswith(".jpg")]
    assert found == copied(f"s3://{bucket}/pets/all.jsonl")
    (whole,) = indexed(f"s3://{bucket}/pets/all.jsonl", max_bad=0.5)
    assert [photo.where for photo in whole.photos] == [
        f"s3://{bucket}/pets/{name}.jpg" for name in ("cold/c00", "cold/c01", "warm/w00", "warm/w01")
    ]
    assert [bad.code for bad in whole.skipped] == ["missing", "missing"]
    assert {photo.split for photo in whole.photos} == {"val"}
    with pytest.raises(DatasetError, match="which is not below"):
        listed(f"s3://{bucket}/bad.csv")


def test_what_cannot_be_listed_is_left_to_the_copy(server: Server, folders: Path, bucket: str) -> None:
    """A path of this machine, a tar file, a photo; an address without objects is refused."""
    for data in (folders, f"s3://{bucket}/a.tar", f"s3://{bucket}/a.tar::b.jpg", f"s3://{bucket}/a.jpg"):
        with open_listing(Path(data), watcher=Watcher()) as listing:
            assert listing is None
    with pytest.raises(DatasetError, match=f"s3://{bucket}/none: found no objects"):
        listed(f"s3://{bucket}/none")


def test_a_metadata_file_that_is_gone_tells_no_labels(server: Server, folders: Path, bucket: str) -> None:
    """What was fetched for an earlier listing and is no longer in the bucket goes from the copy; photos stay there."""
    put(server, bucket, folders)
    server.put(bucket, {"metadata.csv": b"file_name,label\ncold/c00.jpg,a\nwarm/w00.jpg,b\n"})
    assert len(copied(f"s3://{bucket}")[0]) == 2
    obstore.delete(obstore.store.from_url(f"s3://{bucket}"), "metadata.csv")
    assert [label for _, label, _, _ in listed(f"s3://{bucket}")[0]] == 4 * ["cold"] + 4 * ["warm"]
    server.asked.clear()
    assert len(copied(f"s3://{bucket}")[0]) == 8
    assert server.fetched() == 0


def read_there(items: Sequence[Listed]) -> Iterator[tuple[int, Facts | PhotoError]]:
    """As a worker reads, in two batches of which the second comes first."""
    reader, half = FileReader(), len(items) // 2
    for start, batch in ((half, items[half:]), (0, items[:half])):
        yield from enumerate(reader.read(batch, expected=made_by()), start=start)


def indexed(address: str, *, max_bad: float = 0, n_files: int = 100) -> list[PhotoIndex]:
    """The index of what an address lists, read as workers do."""
    with (
        open_listing(Path(address), watcher=Watcher()) as listing,
        FileCache(Path(store_copy.cache_folder()), say=print) as file_cache,
    ):
        assert listing is not None
        portions = index_portions(
            listing.root, n_files=n_files, max_bad=max_bad, file_cache=file_cache, listing=listing, read=read_there
        )
        return [index for index, _ in portions]


def test_objects_are_read_as_files_are(server: Server, folders: Path, bucket: str) -> None:
    """The same hashes, metadata and reasons in the same order; a second run reads the bad object alone, a third the one
    that changed."""
    put(server, bucket, folders)
    server.put(bucket, {"cold/broken.jpg": b"\xff\xd8\xff no photo"})
    parts = indexed(f"s3://{bucket}", max_bad=0.5, n_files=4)
    copy = index_photos(local_copy(Path(f"s3://{bucket}"), watcher=Watcher()), max_bad=0.5)
    found = [(photo.where, photo.label, photo.sha256, photo.seen) for part in parts for photo in part.photos]
    assert found == [(store_address(photo.where), photo.label, photo.sha256, photo.seen) for photo in copy.photos]
    (bad,) = (bad for part in parts for bad in part.skipped)
    assert (store_address(bad.path), bad.reason) == (f"s3://{bucket}/cold/broken.jpg", copy.skipped[0].reason)
    with pytest.raises(DatasetError, match=rf"1 of 9 files.*allows:\n  s3://{bucket}/cold/broken\.jpg: not a photo"):
        indexed(f"s3://{bucket}")

    def read_again() -> set[str]:
        server.asked.clear()
        indexed(f"s3://{bucket}", max_bad=0.5)
        return {key.removeprefix(f"{bucket}/") for key in server.asked if "." in key}

    assert read_again() == {"cold/broken.jpg"}
    server.put(bucket, {"warm/w01.jpg": (folders / "warm" / "w02.jpg").read_bytes()})
    assert read_again() == {"cold/broken.jpg", "warm/w01.jpg"}


def test_an_object_that_changed_since_it_was_listed_is_refused(server: Server, folders: Path, bucket: str) -> None:
    """Its bytes are never kept under the version that was listed; one that is gone is named too."""
    put(server, bucket, folders)
    with open_listing(Path(f"s3://{bucket}"), watcher=Watcher()) as listing:
        assert listing is not None
        one, two = listing.described(list(listing.files())[:2])
    server.put(bucket, {"cold/c00.jpg": (folders / "warm" / "w00.jpg").read_bytes()})
    obstore.delete(obstore.store.from_url(f"s3://{bucket}"), "cold/c01.jpg")
    with pytest.raises(DatasetError, match=f"s3://{bucket}/cold/c00.jpg: the object changed"):
        FileReader().read([one], expected=made_by())
    with pytest.raises(DatasetError, match=f"s3://{bucket}/cold/c01.jpg: no such bucket or object"):
        FileReader().read([two], expected=made_by())


def test_a_worker_that_the_store_does_not_answer_is_named(
    server: Server, folders: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that ends early is asked for again; what stays broken ends the command, with both named."""
    put(server, bucket, folders)
    server.fault = lambda _, key, n: "cut" if key.endswith(".jpg") and n < 2 else ""
    try:
        assert len(indexed(f"s3://{bucket}")[0].photos) == 8
        monkeypatch.setattr(stores, "ATTEMPTS", 1)
        server.fault = lambda _, key, __: "cut" if key.endswith(".jpg") else ""
        with pytest.raises(MachineError, match=rf"{socket.gethostname()}: s3://{bucket}/cold/c00\.jpg: cannot be read"):
            FileReader().read([Listed(f"s3://{bucket}/cold/c00.jpg", "cold", None)], expected=made_by())
    finally:
        server.fault = lambda *_: ""


def test_a_worker_reads_as_the_command_does(folders: Path, tmp_path: Path) -> None:
    """Good files, damaged ones, a folder and a file that is not there; with other versions nothing is read."""
    (tmp_path / "bad.jpg").write_bytes((folders / "cold" / "c00.jpg").read_bytes()[:500])
    places = [
        folders / "warm" / "w00.jpg",
        tmp_path / "bad.jpg",
        tmp_path,
        tmp_path / "none.jpg",
        folders / "cold" / "c01.jpg",
    ]
    items = [Listed(str(place), "a", None) for place in places]
    found, here = FileReader().read(items, expected=made_by()), dict(read_here(items))
    assert [isinstance(one, PhotoError) for one in found] == [False, True, True, True, False]
    for row, one in enumerate(found):
        own = here[row]
        assert one == own or (str(one), one.code) == (str(own), own.code)  # type: ignore[union-attr]
    with pytest.raises(MachineError, match="reads photos by other rules than this command .* expected other"):
        FileReader().read(items, expected="other")


def test_a_photo_that_crashes_its_decoder_costs_itself_alone(folders: Path) -> None:
    """The worker goes on with a new process."""
    reader, items = FileReader(), [Listed(str(folders / "warm" / "w00.jpg"), "a", None)]
    before = reader.read(items, expected=made_by())
    with pytest.raises(PhotoError, match="crashed the reader process"):
        reader._isolated(behave, "crashes")
    assert reader.read(items, expected=made_by()) == before


def test_an_object_too_large_for_memory_is_not_fetched(
    server: Server, folders: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is left out by its size, as a file is that needs more memory than a photo may."""
    put(server, bucket, folders)
    monkeypatch.setattr("imgreg.data.reading.BYTES", 100)
    with pytest.raises(DatasetError, match="(?s)8 of 8 files cannot be read.*more memory than imgreg allows"):
        indexed(f"s3://{bucket}")
    assert server.fetched() == 0
