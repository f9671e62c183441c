"""A Ray cluster as workers: actors read photos and compute blocks of features, tasks train heads.

In: an address, and files, blocks of views or tasks. Out: their results, the same as without Ray. Photos and features
stay on the shared file system or in object stores; settings, splits and finished trials go through Ray.
"""

from __future__ import annotations

import io
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from imgreg.data.file_cache import made_by
from imgreg.data.listed import Listed
from imgreg.data.members import file_of
from imgreg.data.reading import Facts, FileReader, shared_place
from imgreg.data.stores import is_address
from imgreg.errors import DatasetError, MachineError, PhotoError, UsageError
from imgreg.features.block_files import WrittenBlock
from imgreg.features.block_worker import BaseInStore, BlockWorker, cache_of_workers, made_with, views_to_send
from imgreg.features.extract import FeatureSource, View
from imgreg.paths import cache_store
from imgreg.progress import Watcher
from imgreg.training.actor_calls import actor_results, raised_there
from imgreg.training.in_order import TRIES, in_order

BATCH_FILES = 64  # that an actor reads in one call, a third of a second each
ANSWER_SECONDS = 10.0
_HANDED_ON = ("ONEDNN_MAX_CPU_ISA", "XLA_FLAGS")  # what the bits depend on, of features and of heads
_OF_STORES = (  # where they are and how they are asked: no secrets, which whoever sees the cluster's state could read
    *("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ALLOW_HTTP"),
    *("AWS_SKIP_SIGNATURE", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "AZURE_STORAGE_ACCOUNT_NAME"),
)

T = TypeVar("T")
R = TypeVar("R")


class RayCluster:
    """A connection to a Ray cluster, a `WorkerPool`; use it with `with`.

    It connects to the given address only; with auto, a connection that this process already has is used.
    """

    def __init__(self, address: str, *, n_workers: int | None = None, watcher: Watcher) -> None:
        """
        Parameters
        ----------
        address : str
            auto for the cluster of this machine, HOST:PORT, ray://HOST:10001, or local to start one here.
        n_workers : int, optional
            By default as many as the cluster has CPUs.
        """
        self._address, self._n_given, self._watcher = address, n_workers, watcher
        self._ray: Any = None
        self._actors: list[Any] = []  # kept from one call of read_files or compute_blocks to the next
        self._made_for: object = None
        self._cache: Path | BaseInStore = Path()  # of the actors
        self._opened = ExitStack()

    def __enter__(self) -> RayCluster:
        """
        Raises
        ------
        MachineError
            If Ray is not installed, or no cluster answers.
        UsageError
            If this process is connected to another cluster.
        """
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray will do; else it warns
        os.environ.setdefault("RAY_worker_niceness", "0")  # 15 for Ray: beside other programs workers would hardly run
        try:
            import ray
        except ImportError as error:
            raise MachineError("--ray needs Ray, which is not installed: pip install 'imgreg[ray]'") from error
        self._ray = ray
        with ExitStack() as opening:
            # Ray prints what happens to machines on stdout, where a command's result goes.
            opening.enter_context(redirect_stdout(_Lines(self._watcher.tell)))
            if ray.is_initialized() and self._address != "auto":
                raise UsageError(
                    f"--ray {self._address}: this process is already connected to a Ray cluster. Use auto, or call "
                    "ray.shutdown() first."
                )
            if not ray.is_initialized():
                self._connect()
                opening.callback(ray.shutdown)
            opening.callback(self._end_actors)
            self._opened = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _connect(self) -> None:
        _refuse_silent(self._address)
        own = {"include_dashboard": False} if self._address == "local" else {}
        try:
            with _signals_kept():
                self._ray.init(self._address, log_to_driver=False, logging_level="ERROR", **own)
        except (ConnectionError, RuntimeError, ValueError, self._ray.exceptions.AuthenticationError) as error:
            raise MachineError(
                f"--ray {self._address}: cannot connect ({error}). `ray status` on that machine shows its cluster."
            ) from error

    @property
    def is_started(self) -> bool:
        """Always: this machine's process trains nothing."""
        return True

    def n_workers(self, *, bytes_each: int) -> int:
        """As given, else as many as the cluster has CPUs and memory for; at least 1."""
        has = self._ray.cluster_resources()
        return self._n_given or max(1, min(int(has.get("CPU", 1)), int(has.get("memory", 0) // max(bytes_each, 1))))

    def map(
        self,
        work: Callable[[T], R],
        items: Sequence[T],
        *,
        n_at_once: int,
        wanted: Callable[[T], bool] = lambda _: True,
        on_wait: Callable[[int], None] = lambda _: None,
    ) -> Iterator[tuple[T, Future[R]]]:
        """As `WorkerPool.map`."""
        ray = self._ray
        self._end_actors()  # they hold the CPUs
        task = ray.remote(num_cpus=1, max_retries=0)(work).options(runtime_env=_runtime_env())

        def is_lost(future: Future[R]) -> bool:
            return future.done() and isinstance(future.exception(), ray.exceptions.RayError)

        return in_order(
            items,
            start=lambda item: _as_future(ray, task.remote(item)),
            is_lost=is_lost,
            advice="`ray status` shows the cluster.",
            n_at_once=n_at_once,
            wanted=wanted,
            on_wait=on_wait,
        )

    def compute_blocks(
        self, blocks: Sequence[Sequence[View]], *, source: FeatureSource
    ) -> Iterator[tuple[int, WrittenBlock]]:
        """As `BlockWorkers.compute_blocks`. A block whose worker is lost is computed by another.

        Raises
        ------
        MachineError
            If a machine's features would have other bits, it lacks the shared folder or store, or workers are lost at
            one block several times.
        DatasetError
            If a photo changed, or is not there on another machine.
        """
        actors = self._started(source, n_wanted=len(blocks))

        def start(number: int, block: int) -> Any:
            return actors[number].compute.remote(views_to_send(blocks[block]))

        yield from self._results(len(blocks), start=start, n_actors=len(actors))

    def read_files(self, items: Sequence[Listed]) -> Iterator[tuple[int, Facts | PhotoError]]:
        """As `FileReaders.read_files`, in batches. A batch whose worker is lost is read by another.

        Raises
        ------
        MachineError
            If a machine reads photos by other rules, a store does not answer it, or workers are lost at one batch
            several times.
        DatasetError
            If an object changed, or a file is not there on another machine.
        """
        batches = [items[start : start + BATCH_FILES] for start in range(0, len(items), BATCH_FILES)]
        actors = self._readers(n_wanted=len(batches))

        def start(number: int, batch: int) -> Any:
            sent = [replace(item, where=shared_place(item.where), label="", split=None) for item in batches[batch]]
            return actors[number].read.remote(sent, expected=made_by())

        for batch, found in self._results(len(batches), start=start, n_actors=len(actors)):
            for row, (item, one) in enumerate(zip(batches[batch], found, strict=True), start=batch * BATCH_FILES):
                _refuse_not_shared(item.where, one)
                yield row, one

    def _readers(self, *, n_wanted: int) -> Sequence[Any]:
        """Actors that read files: those that compute blocks, if there are any, else new ones."""
        if not self._actors:
            self._made_for = FileReader
        if self._made_for is FileReader:
            self._start_actors(FileReader, n_wanted=n_wanted)
        return self._actors

    def _started(self, source: FeatureSource, *, n_wanted: int) -> Sequence[Any]:
        """Actors for a source: those of an earlier call, and more where there are CPUs for them."""
        made_for = source.base, source.layer, source.cache.folder, cache_store()
        if self._made_for != made_for:
            self._end_actors()
            self._cache, self._made_for = cache_of_workers(source), made_for
        base, expected = source.base, made_with(source.base)
        self._start_actors(
            BlockWorker, base, layer=source.layer, cache=self._cache, expected=expected, n_wanted=n_wanted
        )
        return self._actors

    def _start_actors(self, worker: type[FileReader], *arguments: object, n_wanted: int, **named: object) -> None:
        make = self._ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=TRIES)(worker)
        while len(self._actors) < min(self.n_workers(bytes_each=0), n_wanted):
            self._actors.append(make.options(runtime_env=_runtime_env()).remote(*arguments, **named))

    def _end_actors(self) -> None:
        for actor in self._actors:
            self._ray.kill(actor)
        self._actors = []

    def _results(self, n_items: int, *, start: Callable[[int, int], Any], n_actors: int) -> Iterator[tuple[int, Any]]:
        """The number and the result of each item, as they come. Where that fails, the actors are ended.

        Parameters
        ----------
        start : callable
            Calls an actor for an item, by their numbers.
        """
        try:
            yield from actor_results(self._ray, n_items, start=start, n_actors=n_actors, say=self._watcher.say)
        except BaseException:
            self._end_actors()
            raise


class _Lines(io.TextIOBase):
    """Takes what is printed, and hands on the first line of each piece."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def write(self, text: str) -> int:
        if line := text.strip().partition("\n")[0]:
            self._tell(line)
        return len(text)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Ray sets a handler of its own, which ends the process at once."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _refuse_not_shared(where: str, found: Facts | PhotoError) -> None:
    """raises DatasetError for a file that is here, and that another machine did not find"""
    missing = isinstance(found, PhotoError) and found.code == "missing" and not is_address(where)
    if missing and Path(file_of(where)).exists():
        raise DatasetError(
            f"{file_of(where)}: not found on another machine of the cluster. Every machine needs the photos in the "
            "same place, on a shared file system."
        )


def _runtime_env() -> dict[str, Any]:
    names = (*_HANDED_ON, *_OF_STORES, *(["IMGREG_CACHE"] if cache_store() else []))
    handed_on = {name: os.environ[name] for name in names if name in os.environ}
    return {"env_vars": handed_on} if handed_on else {}


def _as_future(ray: Any, call: Any) -> Future[Any]:
    """A call's future, with the error that was raised there; cancelling it cancels the call."""
    future: Future[Any] = Future()

    def take(done: Future[Any]) -> None:
        if future.cancelled():
            return
        error = done.exception()
        if error is None:
            future.set_result(done.result())
        else:
            future.set_exception(raised_there(error) if isinstance(error, ray.exceptions.RayTaskError) else error)

    call.future().add_done_callback(take)
    future.add_done_callback(lambda done: ray.cancel(call, force=True) if done.cancelled() else None)
    return future


def _refuse_silent(address: str) -> None:
    """Before Ray waits for minutes: does anyone listen? raises UsageError, MachineError"""
    if address in ("auto", "local"):
        return
    place = urlsplit(address if "://" in address else f"tcp://{address}")
    if place.hostname is None or (port := place.port) is None:
        raise UsageError(f"--ray {address}: expected auto, HOST:PORT or ray://HOST:PORT.")
    try:
        socket.create_connection((place.hostname, port), timeout=ANSWER_SECONDS).close()
    except OSError as error:
        raise MachineError(f"--ray {address}: no connection ({error}). Is the cluster running?") from error
