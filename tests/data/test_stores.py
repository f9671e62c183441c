"""stores.py, store_copy.py, features/block_store.py: photos and features in an object store, against an S3 server on
this machine whose answers go wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest

from conftest import imgreg, paint_set
from imgreg import paths
from imgreg.data import store_copy, stores
from imgreg.data.discovery import photo_folders
from imgreg.data.index import index_photos
from imgreg.data.store_copy import local_copy
from imgreg.errors import DatasetError, ImgregError, MachineError, UsageError
from imgreg.features.block_files import WrittenBlock, write_block
from imgreg.features.block_store import BlockStore
from imgreg.features.cache import FeatureCache, feature_key
from imgreg.progress import Watcher
from s3_server import Server, obstore, running_server

boto3 = pytest.importorskip("boto3")  # comes with moto


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMGREG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return paint_set(tmp_path_factory.mktemp("stores") / "folders", n_each=4)


@pytest.fixture
def bucket(server: Server, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new bucket with the photos below pets/, a mark of a folder, and files that are no photos."""
    monkeypatch.setattr(stores, "PORTION", 3)
    monkeypatch.setattr(store_copy, "PORTION", 3)
    server.fault = lambda *_: ""
    name = f"b{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}"
    server.make_bucket(name)
    files = {f"pets/{path.relative_to(folders).as_posix()}": path.read_bytes() for path in folders.glob("*/*")}
    server.put(name, files | {"pets/cold/": b"", "pets/.hidden/x.jpg": b"x", "pets/warm/film.mp4": b"x"})
    server.asked.clear()
    yield name
    server.fault = lambda *_: ""


def quiet(said: list[str]) -> Watcher:
    return Watcher(say=said.append, tell=said.append)


def test_only_what_changed_is_fetched_again(server: Server, folders: Path, bucket: str, cache: Path) -> None:
    """All photos once; then nothing; then the one that changed; what is gone from the bucket goes from the copy."""
    address, said = Path(f"s3://{bucket}/pets"), []
    copy = local_copy(address, watcher=quiet(said))
    assert index_photos(copy, max_bad=0).digest == index_photos(folders, max_bad=0).digest
    assert server.fetched() == 8
    assert "fetched 8 files, 0.0 MB" in said[0]
    server.asked.clear()
    local_copy(address, watcher=quiet(said))
    assert server.fetched() == 0
    server.put(bucket, {"pets/cold/c00.jpg": (folders / "cold" / "c01.jpg").read_bytes()})
    obstore.delete(obstore.store.from_url(f"s3://{bucket}"), "pets/warm/w00.jpg")
    server.asked.clear()
    local_copy(address, watcher=quiet(said))
    assert set(server.asked) == {bucket, f"{bucket}/pets/cold/c00.jpg"}
    assert "fetched 1 file," in said[-1]
    assert "6 were here, 1 removed" in said[-1]
    assert not (copy / "warm" / "w00.jpg").exists()
    (copy / "cold" / "c02.jpg").write_bytes(b"short")
    local_copy(address, watcher=Watcher())
    assert (copy / "cold" / "c02.jpg").read_bytes() == (folders / "cold" / "c02.jpg").read_bytes()
    assert photo_folders(address) == set()


def test_faults_are_tried_again(server: Server, folders: Path, bucket: str, cache: Path, monkeypatch) -> None:
    """Errors of the server, answers that end early and answers that do not come cost time, and nothing else."""
    monkeypatch.setattr(stores, "_CLIENT", {"timeout": timedelta(seconds=0.5)})
    monkeypatch.setattr(stores, "PIECE_BYTES", 700)
    kinds = {"c00": "500", "c01": "cut", "c02": "slow", "w00": "cut", bucket: "500"}
    server.fault = lambda _, key, n: kinds.get(Path(key).stem, "") if n in (0, 2) else ""
    copy = local_copy(Path(f"s3://{bucket}/pets"), watcher=Watcher())
    assert index_photos(copy, max_bad=0).digest == index_photos(folders, max_bad=0).digest


def test_an_object_that_cannot_be_read_ends_the_command(
    server: Server, folders: Path, bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, with what to do; nothing half is left; the next command fetches the others only."""
    monkeypatch.setattr(stores, "ATTEMPTS", 2)
    monkeypatch.setattr(stores, "_RETRIES", {"max_retries": 0})
    server.fault = lambda _, key, n: "cut" if key.endswith("w03.jpg") else ""
    with pytest.raises(MachineError, match=r"pets/warm/w03\.jpg: cannot be read .*what was fetched is kept"):
        local_copy(Path(f"s3://{bucket}/pets"), watcher=Watcher())
    assert not list(cache.rglob("w03.jpg"))
    assert not list(cache.rglob(".partial-*"))
    server.fault = lambda *_: ""
    server.asked.clear()
    copy = local_copy(Path(f"s3://{bucket}/pets"), watcher=Watcher())
    assert index_photos(copy, max_bad=0).digest == index_photos(folders, max_bad=0).digest
    assert server.fetched() <= 2  # the last portion's


def test_errors_say_what_to_do(server: Server, bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bucket, nothing below a prefix, no such object, an address that is none, a full disk, no credentials."""

    def refused(address: str) -> ImgregError:
        with pytest.raises(ImgregError) as caught:
            local_copy(Path(address), watcher=Watcher())
        return caught.value

    error = refused("s3://no-such-bucket-here/pets")
    assert isinstance(error, DatasetError)
    assert "no such bucket or object (NoSuchBucket). Check the address" in str(error)
    assert f"s3://{bucket}/none: found no objects. Check the bucket and the prefix." in str(
        refused(f"s3://{bucket}/none")
    )
    assert "no such object" in str(refused(f"s3://{bucket}/none.tar"))
    assert isinstance(refused(f"s3://{bucket}/pets/../x"), UsageError)
    boto3.client("s3").put_object(Bucket=bucket, Key="odd/a/../../x.jpg", Body=b"x")
    assert "an object's name cannot be a path" in str(refused(f"s3://{bucket}/odd"))
    with monkeypatch.context() as patched:
        patched.setattr(store_copy, "FREE_BYTES", 1 << 60)
        assert ": needs " in str(refused(f"s3://{bucket}/pets"))
    record = cache / "stores" / store_copy.INDEX
    kept = record.read_bytes()
    record.write_bytes(b"x" * 4096)
    assert "cannot be used (file is not a database). Remove" in str(refused(f"s3://{bucket}/pets"))
    record.write_bytes(kept)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(cache / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")  # boto3's
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # obstore's: nobody listens
    monkeypatch.setattr(stores, "_RETRIES", {"max_retries": 0})
    assert "no access (Generic S3 error: Missing AccessKeyId)" in str(refused(f"s3://{bucket}/pets"))
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = refused(f"s3://{bucket}/pets")
    assert isinstance(error, MachineError)
    assert "no access" in str(error)
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in str(error)


def test_a_manifest_in_a_bucket(server: Server, folders: Path, bucket: str, cache: Path) -> None:
    """Only the files that it names are fetched; one that is gone is left out; one outside its folder is refused."""
    rows = [{"path": f"{label}/{label[0]}0{n}.jpg", "label": label} for label in ("cold", "warm") for n in (0, 1, 9)]
    server.put(bucket, {"pets/some.jsonl": "\n".join(map(json.dumps, rows)).encode()})
    index = index_photos(local_copy(Path(f"s3://{bucket}/pets/some.jsonl"), watcher=Watcher()), max_bad=0.5)
    assert [index.relative(one) for one in (*index.photos, *index.skipped)] == [
        *("cold/c00.jpg", "cold/c01.jpg", "warm/w00.jpg", "warm/w01.jpg"),
        *("cold/c09.jpg", "warm/w09.jpg"),
    ]
    assert not list(cache.rglob("c02.jpg"))
    outer = {"path": "some.jsonl", "split": "val"}
    server.put(bucket, {"pets/all.jsonl": json.dumps(outer).encode()})
    obstore.delete(obstore.store.from_url(f"s3://{bucket}"), "pets/cold/c00.jpg")
    nested = index_photos(local_copy(Path(f"s3://{bucket}/pets/all.jsonl"), watcher=Watcher()), max_bad=0.9)
    assert [(nested.relative(one), one.split) for one in nested.photos] == [
        (f"{path}.jpg", "val") for path in ("cold/c01", "warm/w00", "warm/w01")
    ]
    server.put(bucket, {f"long/{300 * 'x'}.jpg": b"x", "long/a": b"x", "long/a/b.jpg": b"x"})
    said: list[str] = []
    copy = local_copy(Path(f"s3://{bucket}/long"), watcher=quiet(said))
    assert [path.name for path in copy.rglob("*.jpg")] == ["b.jpg"] or (copy / "a").is_file()
    assert sum("left out, since the disk refuses this name" in line for line in said) == 2
    assert "fetched 1 file," in said[-1]
    server.put(bucket, {"pets/bad.csv": b"path,label\n../../../../x.jpg,cold\n"})
    with pytest.raises(DatasetError, match="which is not below"):
        local_copy(Path(f"s3://{bucket}/pets/bad.csv"), watcher=Watcher())


def test_commands_name_addresses(trained, server: Server, folders: Path, bucket: str, cache: Path) -> None:
    """predict and errors name addresses; check reads a bucket; the cache shows and clears what was fetched."""
    done = imgreg(
        "predict", f"s3://{bucket}/pets/cold", f"s3://{bucket}/pets/warm/w01.jpg", "--run", trained.folder, "--json"
    )
    assert [json.loads(line)["path"] for line in done.out.splitlines()] == [
        *(f"s3://{bucket}/pets/cold/c0{n}.jpg" for n in range(4)),
        f"s3://{bucket}/pets/warm/w01.jpg",
    ]
    assert imgreg("check", f"s3://{bucket}/pets", "--weights", "starter", "--json").json["n_photos"] == 8
    assert imgreg("cache", "show", "--json").json["fetched"]["n_files"] == 8
    server.put(
        bucket, {"bad/cold/a.jpg": b"x", "bad/warm/b.jpg": b"x", "bad/x.tar": bytes(1024), "list.csv": b"a,b\n1,2\n"}
    )
    for arguments, name in (
        (("train", f"s3://{bucket}/bad"), "bad/cold/a.jpg: not a photo"),
        (("train", f"s3://{bucket}/list.csv"), "list.csv, line 2: found columns"),
        (("predict", f"s3://{bucket}/bad/x.tar::c.jpg", "--run", trained.folder), "bad/x.tar has no such member"),
        (
            ("explain", f"s3://{bucket}/bad/cold/a.jpg", "--run", trained.folder, "--out", cache / "maps"),
            "bad/cold/a.jpg:",
        ),
    ):
        done = imgreg(*arguments)
        assert f"s3://{bucket}/{name}" in done.err + done.out
        assert str(cache / "stores") not in done.err + done.out
    imgreg("cache", "clear")
    assert imgreg("cache", "show", "--json").json["fetched"]["n_files"] == 0


KEYS = [feature_key("photo", n) for n in range(6)]
FEATURES = np.random.default_rng(0).random((6, 1, 1, 8)).astype(np.float16)


def shared_cache(folder: Path, bucket: str, said: list[str]) -> FeatureCache:
    store = BlockStore(f"s3://{bucket}/cache", folder=folder / "features", say=said.append)
    return FeatureCache(folder, say=said.append, store=store)


def test_two_machines_share_features(
    trained, server: Server, folders: Path, bucket: str, own_cache: Path, tmp_path: Path, monkeypatch
) -> None:
    """What one computes the other fetches, in the same bytes, once; `cache clear` spares the store unless told; a store
    that is not there, one inside the photos, and an address that is none are refused before anything is computed."""

    def extract(machine: str, address: str) -> tuple[int, str, dict[str, int]]:
        (tmp_path / machine).mkdir(exist_ok=True)
        if not (tmp_path / machine / "base").exists():
            shutil.copytree(own_cache / "base", tmp_path / machine / "base")  # a link's target would be cleared
        monkeypatch.setattr(paths.platformdirs, "user_cache_path", lambda _: tmp_path / machine)
        monkeypatch.setenv("IMGREG_CACHE", address)
        done = imgreg("extract", folders, "--weights", "starter", "--image-size", 32, "--augment", "none", "--json")
        return done.code, done.err, done.json if done.code == 0 else {}

    address = f"s3://{bucket}/cache"
    assert "IMGREG_CACHE names this store; set it to a folder" in extract("first", "s3://no-such-bucket-here/x")[1]
    assert extract("first", f"s3:/{bucket}/x")[0] == 2
    assert not list((tmp_path / "first").rglob("*.npy"))
    first, second = extract("first", address)[2], extract("second", address)
    assert (first["n_computed"], first["n_read"]) == (16, 0)
    assert (second[2]["n_computed"], second[2]["n_read"]) == (0, 16)
    assert f"{address}: fetched 1 block of features" in second[1]
    (one,), (other,) = (list((tmp_path / name / "features").glob("*.npy")) for name in ("first", "second"))
    assert (one.name, one.read_bytes()) == (other.name, other.read_bytes())
    server.asked.clear()
    extract("second", address)
    assert {key.rpartition("/")[2] for key in server.asked} == {bucket}
    assert imgreg("cache", "show", "--json").json["store"]["n_blocks"] == 1
    assert "nothing deleted" in imgreg("cache", "clear").out
    assert not list((tmp_path / "second").rglob("*.npy"))
    assert extract("second", address)[2]["n_read"] == 16
    assert imgreg("cache", "clear", "--store", "--json").json["store"]["n_blocks"] == 1
    assert extract("first", address)[2]["n_read"] == 16
    assert imgreg("cache", "show", "--json").json["store"]["n_blocks"] == 1  # put there again
    refused = imgreg("extract", f"s3://{bucket}/", "--weights", "starter")
    assert (refused.code, "inside the photos'" in refused.err) == (2, True)


def test_what_is_damaged_in_a_store_is_computed_again(server: Server, bucket: str, tmp_path: Path) -> None:
    """A block cut short, and a list of features that was changed, are never read, and replaced; errors of the server
    cost time alone."""
    server.fault = lambda _, __, n: "500" if n == 0 else ""
    with shared_cache(tmp_path / "a", bucket, []) as cache:
        assert cache.missing(KEYS, base="x") == set(KEYS)
        cache.write(KEYS, FEATURES, base="x")
    names = sorted(key.partition("/")[2] for key in server.asked if "." in key)
    assert [name.split("/")[:2] for name in names] == [["cache", "blocks"], ["cache", "index"]]
    for machine, name in enumerate(names):
        whole = bytes(obstore.get(obstore.store.from_url(f"s3://{bucket}"), name).bytes())
        server.put(bucket, {name: whole[:-9] + machine * b"00000000\n"})
        said: list[str] = []
        with shared_cache(tmp_path / f"b{machine}", bucket, said) as cache:  # a command that ends before it computes
            assert cache.missing(KEYS, base="x") == set(KEYS)
        with shared_cache(tmp_path / f"b{machine}", bucket, said) as cache:
            assert cache.missing(KEYS, base="x") == set(KEYS)
            cache.write(KEYS, FEATURES, base="x")
        assert f"s3://{bucket}/{name} was damaged" in said[0]
        with shared_cache(tmp_path / f"c{machine}", bucket, said) as cache:
            assert cache.missing(KEYS[:4], base="x") == set()
            np.testing.assert_array_equal(cache.read(KEYS[3::-1]), FEATURES[3::-1])


def test_writers_of_one_block(server: Server, bucket: str, tmp_path: Path) -> None:
    """Two at once need not know of each other; the features of both are found, whichever blocks they are in; another
    machine's block need not be in this one's folder."""
    start = Barrier(2)

    def work(machine: str, part: slice) -> None:
        with shared_cache(tmp_path / machine, bucket, []) as cache:
            cache.missing(KEYS, base="x")
            start.wait()
            cache.write(KEYS[:2], FEATURES[:2], base="x")
            cache.write(KEYS[part], FEATURES[part], base="x")

    threads = [Thread(target=work, args=(name, part)) for name, part in (("a", slice(2, 5)), ("b", slice(1, 6)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.asked.clear()
    with shared_cache(tmp_path / "c", bucket, []) as cache:
        assert cache.missing(KEYS[4:], base="x") == set()
        cache.release()  # as between two portions: neither a list nor a block is asked for twice
        assert cache.missing(KEYS, base="x") == set()
        assert max(server.asked.values()) == 1
        np.testing.assert_array_equal(cache.read(KEYS), FEATURES)
        assert len(list((tmp_path / "c" / "features").glob("*.npy"))) == 2  # the larger first, and what it lacks
    (tmp_path / "worker").mkdir()
    written = write_block(tmp_path / "worker", FEATURES + np.float16(1))
    store = BlockStore(f"s3://{bucket}/cache", folder=tmp_path / "worker", say=print)
    store.put_block(written.name, (tmp_path / "worker" / f"{written.name}.npy").read_bytes())
    store.put_block(written.name, b"x")  # is there, and stays as it is
    store.close()
    others = [feature_key("other", n) for n in range(6)]
    with shared_cache(tmp_path / "d", bucket, []) as cache:
        cache.add(others, written, base="x")
        np.testing.assert_array_equal(cache.read(others), FEATURES + np.float16(1))
        with pytest.raises(MachineError, match="missing or incomplete"):
            cache.add(others, WrittenBlock("0" * 64, 1), base="x")
