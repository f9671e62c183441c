"""Object stores by their addresses: `s3://bucket/pets`, `gs://bucket/pets`, `az://container/pets`.

In: an address. Out: its objects in portions, and bytes of one, asked for again where a connection breaks; objects put
there or deleted. A folder is a store too, `file:///shared/pets`. Credentials are found by the provider's own means;
imgreg has none. Must not know: what the bytes are, and where they go.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from imgreg.errors import DatasetError, ImgregError, MachineError, PhotoError

THREADS = 32  # requests at once: most of a small object's time is waiting
PORTION = 1000  # objects listed before the next are asked for
PIECE_BYTES = 16 * 2**20
ATTEMPTS = 4  # for each piece, besides obstore's own retries of a request

_ADDRESS = re.compile(r"(s3|gs|az):/+(.+)", re.DOTALL)
_RETRIES = {"max_retries": 4, "retry_timeout": timedelta(seconds=60), "backoff": {"max_backoff": timedelta(seconds=4)}}
_CLIENT = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=60)}
_PROVIDERS = ("AWS", "GOOGLE", "AZURE")
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a role of the machine, or, with boto3 installed, ~/.aws; for a "
    "public bucket set AWS_SKIP_SIGNATURE=true",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, gcloud auth application-default login, or a role of the machine",
    "az": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, or AZURE_USE_AZURE_CLI=true after az login",
    "file": "the rights of your user on that folder",
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: its key below the address, and its ETag, or what else tells whether it is still the same."""

    key: str
    size: int
    version: str


def address_of(path: str | Path) -> str | None:
    """The address that a path stands for, written as a path or not; None for a path of this machine.

    >>> address_of(Path("s3://pets/train")), address_of("s3://pets/train"), address_of("pets/train")
    ('s3://pets/train', 's3://pets/train', None)
    """
    found = _ADDRESS.fullmatch(Path(path).as_posix())
    return f"{found[1]}://{found[2].rstrip('/')}" if found else None


def is_address(where: str) -> bool:
    """Whether a photo's place is an object in a store; for a million of them, in less time than address_of.

    >>> is_address("s3://pets/1.jpg"), is_address("pets/1.jpg")
    (True, False)
    """
    return where.startswith(("s3://", "gs://", "az://"))


def without_scheme(path: Path) -> Path:
    """A path of this machine that was written as an address.

    >>> str(without_scheme(Path("file:///srv/pets"))), str(without_scheme(Path("pets")))
    ('/srv/pets', 'pets')
    """
    found = re.fullmatch(r"file:/+(.+)", path.as_posix())
    if not found:
        return path
    return Path(found[1] if found[1][1:2] == ":" else f"/{found[1]}")


def as_typed(path: Path) -> str:
    """A path as a user types it: an address with its two slashes.

    >>> as_typed(Path("s3://pets/train")), as_typed(Path("pets"))
    ('s3://pets/train', 'pets')
    """
    return address_of(path) or str(path)


class Store:
    """The objects below an address."""

    def __init__(self, address: str) -> None:
        """
        Raises
        ------
        MachineError
            If obstore is missing, or the address or the settings in the environment cannot be used.
        """
        try:
            import obstore
        except ImportError as error:
            raise MachineError(f"{address}: run pip install 'imgreg[stores]' to read object stores.") from error
        self.address = address
        self._api: Any = obstore
        try:
            plain = any(os.environ.get(f"{name}_ALLOW_HTTP", "").lower() in ("1", "true") for name in _PROVIDERS)
            options: dict[str, Any] = {"client_options": _CLIENT | {"allow_http": plain}}
            if address.startswith("s3:") and (provider := _boto3_credentials()):
                options["credential_provider"] = provider
            if address.startswith("file:"):
                options = {"mkdir": True}
            self._store = obstore.store.from_url(address, retry_config=_RETRIES, **options)
        except Exception as error:
            raise _explained(error, address) from error

    def objects(self, *, below: str | None = None) -> Iterator[Sequence[StoredObject]]:
        """All objects below the address, or below a folder there, in portions. raises ImgregError"""
        listed = iter(self._api.list(self._store, below, chunk_size=PORTION))
        while True:
            try:
                portion = next(listed, None)
            except Exception as error:
                raise _explained(error, self.address) from error
            if portion is None:
                return
            yield [_described(one) for one in portion]

    def heads(self, keys: Sequence[str]) -> Sequence[StoredObject]:
        """Those of the named objects that there are. raises ImgregError"""

        def head(key: str) -> StoredObject | None:
            try:
                return _described(self._api.head(self._store, key))
            except FileNotFoundError:
                return None
            except Exception as error:
                raise _explained(error, f"{self.address}/{key}") from error

        with ThreadPoolExecutor(THREADS) as pool:
            return [one for one in pool.map(head, keys) if one is not None]

    def pieces(self, one: StoredObject) -> Iterator[bytes]:
        """An object's bytes, from first to last. raises ImgregError"""
        for start in range(0, one.size, PIECE_BYTES):
            yield self._piece(one, start, min(start + PIECE_BYTES, one.size))

    def read(self, key: str) -> bytes | None:
        """All bytes of a small object; None if there is none. raises ImgregError"""

        def get() -> bytes:
            answer = self._api.get(self._store, key)
            return _whole(bytes(answer.bytes()), answer.meta["size"])

        try:
            return self._repeated(get, f"{self.address}/{key}")
        except FileNotFoundError:
            return None

    def put(self, key: str, content: bytes, *, replace: bool = False) -> None:
        """Put an object whose name says what is in it: one that is there already is left, unless `replace`.

        Raises
        ------
        ImgregError
            If the store does not take it.
        """
        mode = "overwrite" if replace else "create"

        def put() -> None:
            with suppress(self._api.exceptions.AlreadyExistsError):
                self._api.put(self._store, key, content, mode=mode, use_multipart=False)

        self._repeated(put, f"{self.address}/{key}", doing="written")

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects. raises ImgregError"""
        with suppress(FileNotFoundError):
            self._repeated(lambda: self._api.delete(self._store, keys), self.address, doing="deleted")

    def _piece(self, one: StoredObject, start: int, end: int) -> bytes:
        options: dict[str, Any] = {"range": (start, end)}
        if one.version.startswith('"'):  # a strong ETag
            options["if_match"] = one.version

        def get() -> bytes:
            return _whole(bytes(self._api.get(self._store, one.key, options=options).bytes()), end - start)

        where = f"{self.address}/{one.key}"
        try:
            return self._repeated(get, where)
        except FileNotFoundError as error:
            raise _explained(error, where) from error

    def _repeated(self, ask: Callable[[], T], where: str, *, doing: str = "read") -> T:
        """What a request gives; a broken one is made again. raises ImgregError, FileNotFoundError"""
        for attempt in itertools.count(1):
            try:
                return ask()
            except (self._api.exceptions.GenericError, _CutShortError) as error:
                if attempt == ATTEMPTS:
                    raise _explained(error, where, doing=doing) from error
            except FileNotFoundError:
                raise
            except Exception as error:
                raise _explained(error, where, doing=doing) from error
            time.sleep(0.1 * 2**attempt)
        raise AssertionError


def read_object(address: str, *, stored: StoredObject | None = None) -> bytes:
    """The bytes of one object, by a connection that the process keeps for its bucket.

    Parameters
    ----------
    stored : StoredObject, optional
        The object as it was listed, by its key in the bucket: one that has changed since is refused.

    Raises
    ------
    PhotoError
        If there is no such object.
    DatasetError
        If it is no longer what was listed.
    MachineError
        If the store does not answer or gives no access.
    """
    scheme, _, place = address.partition("://")
    bucket, _, key = place.partition("/")
    store = _kept_store(f"{scheme}://{bucket}")
    if stored is not None:
        return b"".join(store.pieces(stored))
    if (data := store.read(key)) is None:
        raise PhotoError("no such object", code="missing")
    return data


@functools.lru_cache(maxsize=8)
def _kept_store(address: str) -> Store:
    return Store(address)


class _CutShortError(Exception):
    """An answer that ended early."""


def _whole(data: bytes, n_bytes: int) -> bytes:
    """raises _CutShortError"""
    if len(data) != n_bytes:
        raise _CutShortError(f"received {len(data):,} bytes, expected {n_bytes:,}")
    return data


def _described(meta: Any) -> StoredObject:
    """meta   obstore's ObjectMeta"""
    return StoredObject(meta["path"], meta["size"], meta["e_tag"] or f"{meta['last_modified']}")


def _boto3_credentials() -> Any:
    """Those of boto3, which knows profiles and SSO; None where it is not installed or finds none."""
    if os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_SKIP_SIGNATURE"):
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider

        return Boto3CredentialProvider()
    except (ImportError, ValueError):
        return None


def _explained(error: Exception, address: str, *, doing: str = "read") -> ImgregError:
    """What the user can do about an error of obstore's."""
    text, kind = str(error).strip(), type(error).__name__
    code = re.search(r"<Code>(\w+)</Code>", text)
    reason = code[1] if code else (text.splitlines() or [kind])[0][:300]
    if "NoSuchBucket" in text or isinstance(error, FileNotFoundError):
        return DatasetError(f"{address}: no such bucket or object ({reason}). Check the address and the region.")
    if kind == "InvalidPathError":
        return DatasetError(
            f"{address}: an object's name cannot be a path ({reason}). Rename it, or give a prefix or a manifest "
            "without it."
        )
    if kind == "PreconditionError":
        return DatasetError(f"{address}: the object changed while it was fetched. Run the command again.")
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or re.search(
        r"/latest/(api|meta-data)|[mM]etadata|status code: 40[13]|[Cc]redential|Missing \w*Key", text
    ):
        known = _CREDENTIALS[address.partition(":")[0]]
        return MachineError(f"{address}: no access ({reason}). Credentials are taken from {known}.")
    kept = "; what was fetched is kept" if doing == "read" else ""
    return MachineError(f"{address}: cannot be {doing} ({reason}). Check the network and run the command again{kept}.")
