"""Work on files that may be hostile, each in a separate process with bounds on time and memory.

In: a function and its items. Out: results in order. A file that takes too long, too much memory, or the process with
it, costs its own result and nothing else. Must not know: what the work is.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn, TypeVar

from imgreg.errors import MachineError, PhotoError
from imgreg.fresh_process import START, FreshContext

SECONDS = 10.0
AGAIN_SECONDS = 30.0  # for the second try: a busy machine must not decide which photos are read
BYTES = 2 * 2**30  # of address space: a 12-megapixel HEIC takes 181 MB on 2 cores, more with more threads (docs/log.md)
_AHEAD = 4  # items handed out before they are asked for, a process

T = TypeVar("T")
R = TypeVar("R")
F = TypeVar("F")


class _ReaderDiedError(PhotoError):
    """The process that read the file exited, or was ended by a signal."""


def in_workers(work: Callable[[T], R], items: Iterable[T], *, failed: Callable[[T, PhotoError], F]) -> Iterator[R | F]:
    """work(item) for each item, in order, a process a core. Some items are asked for ahead of what is given back.

    An item that runs out of memory or time, or breaks its process, is tried once more in a fresh process,
    with more time: neither what earlier items left behind nor what else the machine does must decide about it.

    Parameters
    ----------
    work : callable
        A function of a module, which returns what can be pickled; it may raise PhotoError.
    failed : callable
        The result for an item whose work was given up: codes too-slow, out-of-memory and damaged.

    Raises
    ------
    MachineError
        If no process can be started.
    """
    coming = iter(items)
    first = list(islice(coming, _AHEAD * (os.cpu_count() or 1)))
    if not first:
        return
    coming = chain(first, coming)
    n_workers = min(os.cpu_count() or 1, len(first))
    with _pool(_module(work), n_workers) as pool:
        waiting: deque[tuple[T, Any]] = deque()
        while True:
            while len(waiting) < _AHEAD * n_workers and (item := next(coming, None)) is not None:
                waiting.append((item, pool.schedule(work, args=(item,), timeout=SECONDS)))
            if not waiting:
                return
            item, future = waiting.popleft()
            try:
                yield _result(future.result, seconds=SECONDS)
            except PhotoError as error:
                yield _again(work, item, failed=failed) if _worth_another_try(error) else failed(item, error)


@contextmanager
def kept_workers(module: str, *, n_workers: int | None = None) -> Iterator[Callable[[Callable[[T], R], T], R]]:
    """The same for single items as they come, from any thread: a function that runs work(item) in a process.

    The processes are kept until the block ends. For an item whose work was given up, PhotoError is raised.

    Parameters
    ----------
    module : str
        The name of the work's module, which is imported before the processes start.
    n_workers : int, optional
        Number of processes; by default one a core.
    """
    readers = [_Reader(_context(module)) for _ in range(n_workers or os.cpu_count() or 1)]
    idle: SimpleQueue[_Reader] = SimpleQueue()
    for reader in readers:
        idle.put(reader)

    def result(work: Callable[[T], R], item: T) -> R:
        reader = idle.get()
        try:
            answer: R = _result(partial(reader.result, work, item), seconds=SECONDS)
            return answer
        except PhotoError as error:
            if not _worth_another_try(error):
                raise
            reader.close()  # with what earlier items left in it
        finally:
            idle.put(reader)
        return _again(work, item, failed=_raised)

    try:
        yield result
    finally:
        for reader in readers:
            reader.close()


class _Reader:
    """A process for one item after another, started when it is asked.

    For items that come one at a time: pebble's pool takes three times as long for each (docs/log.md).
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._process: Any = None

    def result(self, work: Callable[[T], R], item: T) -> R:
        """work(item) in the process. raises what it raises, and what pebble does for a process that is late or dead"""
        from pebble import ProcessExpired

        if self._process is None:
            self._start()
        try:
            self._pipe.send((work, item))
            if not self._pipe.poll(SECONDS):
                raise FutureTimeoutError
            answer, error = self._pipe.recv()
        except (EOFError, ConnectionError) as gone:
            self._process.join(1)
            raise ProcessExpired("", code=self._process.exitcode) from gone
        if error is not None:
            raise error
        result: R = answer
        return result

    def _start(self) -> None:
        try:
            self._pipe, theirs = self._context.Pipe()
            self._process = self._context.Process(target=_answer, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        except (OSError, EOFError) as error:
            self._process = None
            raise BrokenProcessPool(str(error)) from error

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def _answer(pipe: Any) -> None:
    """In a reader's process: each item as it comes, until whoever asks has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too; whoever asked ends it when all is answered
    _bounded()
    with suppress(EOFError):
        while True:
            work, item = pipe.recv()
            try:
                pipe.send((work(item), None))
            except Exception as error:  # noqa: BLE001 - raised again where it was asked for
                pipe.send((None, error))


def _worth_another_try(error: PhotoError) -> bool:
    return isinstance(error, _ReaderDiedError) or error.code in ("out-of-memory", "too-slow")


def _raised(_: object, error: PhotoError) -> NoReturn:
    raise error


def _again(work: Callable[[T], R], item: T, *, failed: Callable[[T, PhotoError], F]) -> R | F:
    """The same work in a fresh process that does nothing else; its answer is final."""
    with _pool(_module(work), 1) as pool:
        try:
            future = pool.schedule(work, args=(item,), timeout=AGAIN_SECONDS)
            result: R = _result(future.result, seconds=AGAIN_SECONDS)
            return result
        except PhotoError as error:
            return failed(item, error)


def _result(answer: Callable[[], Any], *, seconds: float) -> Any:
    """What a process answered. raises PhotoError for what a bound ended, MachineError if no process can be started"""
    from pebble import ProcessExpired

    try:
        return answer()
    except FutureTimeoutError as error:
        raise PhotoError(f"reading took more than {seconds:g} seconds", code="too-slow") from error
    except MemoryError as error:
        raise PhotoError(f"reading took more than {BYTES // 2**20} MB of memory", code="out-of-memory") from error
    except BrokenProcessPool as error:
        raise MachineError(
            f"cannot start the processes that read photos ({error}). Free some memory or raise the process limits, "
            "then run the command again."
        ) from error
    except ProcessExpired as error:
        raise _ReaderDiedError(f"reading it crashed the reader process (exit code {error.exitcode})") from error


def _module(work: Callable[..., object]) -> str:
    name: str = getattr(work, "func", work).__module__
    return name


def _context(module: str) -> FreshContext:
    context = FreshContext()
    if START == "ForkServer":
        context.set_forkserver_preload([module])
    return context


@contextmanager
def _pool(module: str, n_workers: int) -> Iterator[Any]:
    """Processes that start with nothing of the caller, and end with the block."""
    from pebble import ProcessPool

    pool = ProcessPool(max_workers=n_workers, initializer=_bounded, context=_context(module))
    try:
        yield pool
    finally:
        pool.stop()
        pool.join()


def _bounded() -> None:
    """In each process: a bound on memory beyond what it has, and nothing of C libraries' remarks on stderr.

    Windows and macOS have no such bound: there a photo's claimed size (decode.MAX_PIXELS) is the only one.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except ImportError:
        return
    except OSError:  # no /proc: macOS counts address space in a way of its own
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)  # `ulimit -v` may have set one, which cannot be raised
    bound = used + BYTES if most == resource.RLIM_INFINITY else min(used + BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
