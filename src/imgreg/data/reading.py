"""Listed files in; of each its hash and image metadata out, or why it cannot be used: read by this command's own
processes, or by a worker of another machine.

Each file is decoded in a process with bounds on time and memory (see `isolated_reading`). An object of a store is
fetched by the process that asks, and only decoded in the bounded one. Must not know: labels, and what becomes of the
photos.
"""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from imgreg.data.decode import OUT_OF_MEMORY, decode, read_bytes
from imgreg.data.file_cache import made_by
from imgreg.data.isolated_reading import BYTES, in_workers, kept_workers
from imgreg.data.listed import Listed
from imgreg.data.metadata import metadata
from imgreg.data.stores import is_address, read_object
from imgreg.errors import MachineError, PhotoError

AT_ONCE = 16  # objects that one worker fetches at once: decoding a photo takes 6 ms, a request 50 (docs/log.md)
_PROBE_PX = 32  # a whole decode proves a file readable; the size only sets what is kept of it

Facts = tuple[str, bytes]  # what the file cache keeps: a file's SHA-256 and its packed image metadata
Read = Callable[[Sequence[Listed]], Iterator[tuple[int, Facts | PhotoError]]]


@runtime_checkable
class FileReaders(Protocol):
    """Processes on other machines that read and check photos."""

    def read_files(self, items: Sequence[Listed]) -> Iterator[tuple[int, Facts | PhotoError]]:
        """Read each file, and give its row with what was found, as they come."""
        ...


def read_here(items: Sequence[Listed]) -> Iterator[tuple[int, Facts | PhotoError]]:
    """Read files by processes of this machine, one a core. Gives each row with what was found."""
    yield from enumerate(in_workers(_examine_file, items, failed=lambda _, error: error))


class FileReader:
    """Reads files in a process of its own on any machine, which keeps one bounded process for decoding."""

    def read(self, items: Sequence[Listed], *, expected: str) -> list[Facts | PhotoError]:
        """Read files and objects, as they were listed; of each what was found, in their order.

        Parameters
        ----------
        expected : str
            `made_by` of the command, in whose cache the answers are kept.

        Raises
        ------
        MachineError
            If this machine reads photos with other versions, or the store does not answer.
        DatasetError
            If an object is no longer what was listed.
        """
        if made_by() != expected:
            raise MachineError(
                f"{socket.gethostname()}: reads photos by other rules than this command ({made_by()}, expected "
                f"{expected}: decoding rules, Pillow, pillow-heif). Install the same versions on every machine."
            )
        isolated = self._isolated

        def read_one(item: Listed) -> Facts | PhotoError:
            try:
                return isolated(_examine, _fetched(item)) if is_address(item.where) else isolated(_examine_file, item)
            except PhotoError as error:
                return error

        with naming_machine(), ThreadPoolExecutor(AT_ONCE) as threads:
            return list(threads.map(read_one, items))

    @cached_property
    def _isolated(self) -> Callable[[Callable[[Any], Facts], Any], Facts]:
        self._opened = ExitStack()  # ends with this process
        return self._opened.enter_context(kept_workers(__name__, n_workers=1))


@contextmanager
def naming_machine() -> Iterator[None]:
    """The block's errors of the machine name it: a store may answer one machine and not another."""
    try:
        yield
    except MachineError as error:
        raise MachineError(f"{socket.gethostname()}: {error}") from error


def shared_place(where: str) -> str:
    """A photo's place as it holds on every machine: an address, or an absolute path.

    >>> shared_place("s3://pets/1.jpg"), shared_place("/srv/pets/1.jpg")
    ('s3://pets/1.jpg', '/srv/pets/1.jpg')
    """
    return where if is_address(where) else str(Path(where).absolute())


def _examine_file(item: Listed) -> Facts:
    """raises PhotoError"""
    return _examine(read_bytes(Path(item.where)))


def _examine(data: bytes) -> Facts:
    """raises PhotoError"""
    seen = metadata(data, decode(data, size_px=_PROBE_PX)).packed()
    return hashlib.sha256(data).hexdigest(), seen


def _fetched(item: Listed) -> bytes:
    """An object's bytes. raises PhotoError for one that is not there, or that no process may hold; ImgregError"""
    if item.stored is not None and item.stored.size > BYTES:
        raise PhotoError(OUT_OF_MEMORY, code="out-of-memory")
    return read_object(item.where, stored=item.stored)
