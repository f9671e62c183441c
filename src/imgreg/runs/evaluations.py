"""Which runs were scored on which held-out photos: evaluations.jsonl beside the runs, a line for each scoring.

Photos that choose between runs are no longer held out: the best of several figures is optimistic. So `train` with a
test split and `evaluate` record what they score, and report how many different runs the same photos have scored.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from filelock import FileLock

from imgreg.atomic_write import write_atomic
from imgreg.errors import MachineError
from imgreg.runs.files import read_regular

EVALUATIONS = "evaluations.jsonl"


class Evaluation(msgspec.Struct, frozen=True):
    """One scoring.

    Attributes
    ----------
    date : str
        ISO 8601, UTC.
    photos : str
        `digest_of` the photos; `n_photos` is their number.
    runs : tuple of str
        Names of the run, or of those that voted.
    scored : str
        `digest_of` the heads' files: the same head again gives the same figure.
    command, reason : str
        As they were given; may be empty.
    """

    date: str
    photos: str
    n_photos: int
    runs: tuple[str, ...]
    scored: str
    command: str = ""
    reason: str = ""


def digest_of(hashes: Iterable[str]) -> str:
    """Name a set of files by their SHA-256, whatever their order.

    >>> digest_of(["ab", "cd"]) == digest_of(["cd", "ab"]) != digest_of(["ab"])
    True
    """
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def write_evaluation(
    models: Path,
    *,
    photos: Sequence[str],
    runs: Sequence[str],
    heads: Sequence[str],
    command: str,
    reason: str = "",
) -> int:
    """Record that photos were scored, and count the different runs that were scored on exactly these photos.

    Parameters
    ----------
    models : Path
        The folder of the runs.
    photos, heads : sequence of str
        SHA-256 of each photo, and of each head's file.

    Returns
    -------
    int
        1 or more: this run is counted, a run scored twice is counted once.

    Raises
    ------
    MachineError
        If the file cannot be written.
    """
    path = models / EVALUATIONS
    done = Evaluation(
        date=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        photos=digest_of(photos),
        n_photos=len(photos),
        runs=tuple(map(_printable, runs)),
        scored=digest_of(heads),
        command=_printable(command),
        reason=_printable(reason),
    )
    try:
        (models / ".locks").mkdir(parents=True, exist_ok=True)
        with FileLock(models / ".locks" / f"{EVALUATIONS}.lock"):
            before = read_regular(path) if path.exists() else b""
            write_atomic(path, before, msgspec.json.encode(done) + b"\n")
    except OSError as error:
        raise MachineError(f"{path}: cannot be written ({error.strerror}).") from error
    return len({one.scored for one in _read(before) if one.photos == done.photos} | {done.scored})


def optimism(n_photos: int, n_runs: int) -> str:
    """The sentence for photos that scored several runs; empty for a first look.

    >>> optimism(120, 3)
    'These 120 photos have been used to score 3 different runs; the best of several scores is optimistic.'
    >>> optimism(120, 1)
    ''
    """
    if n_runs < 2:
        return ""
    return (
        f"These {n_photos} photos have been used to score {n_runs} different runs; the best of several scores is "
        "optimistic."
    )


def _printable(text: str) -> str:
    """Names of files need not be UTF-8; JSON must be."""
    return text.encode("utf-8", "backslashreplace").decode()


def _read(lines: bytes) -> list[Evaluation]:
    """Every line that is a scoring; others were written by hand, or by a later imgreg."""
    found = []
    for line in lines.splitlines():
        try:
            found.append(msgspec.json.decode(line, type=Evaluation))
        except (msgspec.DecodeError, UnicodeDecodeError):  # ValidationError is a DecodeError
            continue
    return found
