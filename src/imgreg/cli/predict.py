"""imgreg predict PHOTO..."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TextIO

import click

from imgreg.cli.flags import mirror_option, models_option, verbosity_options, vote_option
from imgreg.cli.run_option import chosen_runs, runs_option
from imgreg.errors import DatasetError, UsageError
from imgreg.paths import store_address

if TYPE_CHECKING:
    from imgreg.api.classifier import Classifier
    from imgreg.api.prediction import Prediction
    from imgreg.progress import Watcher


@click.command("predict")
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True, readable=False))
@runs_option
@vote_option
@mirror_option
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="X",
    help="Return prediction sets that contain the true class of this fraction of new photos, in each class: one "
    "class, several, or none (abstained). Needs a single run with enough held-out photos: 9 per class for 0.9, "
    "19 for 0.95.",
)
@models_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per photo, each on its own line.")
@click.option(
    "--csv",
    "as_csv",
    is_flag=True,
    help="Print a CSV table: path, label, probability, one column per class, prediction set, distance, error.",
)
@verbosity_options
def command(
    photos: tuple[Path, ...],
    runs: tuple[Path, ...],
    vote: Literal["mean", "majority"] | None,
    mirror: bool | None,
    confidence: float | None,
    models: Path,
    as_json: bool,
    as_csv: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Classify photos with a trained run.

    PHOTOS are files, folders (searched recursively), or - for paths on stdin, one per line. Photos are preprocessed
    exactly as in training. An unreadable photo is reported without stopping the others, and the exit code is then 3.

    Probabilities are calibrated on held-out photos. Photos unlike any in the training set are marked.

    \b
    Example:
      imgreg predict photo.jpg
      imgreg predict photo.jpg --confidence 0.9
      imgreg predict holiday/ --csv > holiday.csv
      find . -name '*.jpg' | imgreg predict - --json --run first-try
      imgreg predict photo.jpg --run a --run b --run c --vote majority
    """
    if as_json and as_csv:
        raise UsageError("--json and --csv cannot be combined. Omit one.")
    from imgreg.cli.progress import watching

    with watching(quiet=quiet, verbose=verbose) as watcher:
        from imgreg.api.classifier import load_classifier
        from imgreg.api.predict import predict
        from imgreg.data.stores import address_of, without_scheme

        photos = tuple(map(without_scheme, photos))
        if vote and len(runs) < 2:
            raise UsageError("--vote has no effect on a single run. Repeat --run, or omit --vote.")
        try:
            chosen = chosen_runs(runs, models=models, watcher=watcher)
        except UsageError as error:
            here = [photo for photo in photos if str(photo) != "-" and not address_of(photo)]
            missing = next((photo for photo in here if not _exists(photo)), None)
            raise UsageError(f"{error} There is no photo {missing} either." if missing else str(error)) from error
        one_photo = len(photos) == 1 and str(photos[0]) != "-" and not (_many(photos[0]) or address_of(photos[0]))
        classifier = load_classifier(
            chosen, vote=vote, one_photo=one_photo, confidence=confidence, mirror=mirror, watcher=watcher
        )
        if len(chosen) > 1:
            watcher.say("Several runs vote: photos unlike the training set are not marked.")
        answers = predict(_listed(photos, watcher), classifier=classifier)
        if not sys.stdout.isatty():  # there the answers themselves are the progress
            answers = _counted(answers, watcher)
        write = _write_json if as_json else _write_csv if as_csv else _write_text
        n_bad = write(answers, classifier)
    if n_bad:
        click.get_current_context().exit(3)


def _listed(photos: tuple[Path, ...], watcher: Watcher) -> Iterator[Path]:
    from imgreg.data.discovery import photos_below
    from imgreg.data.store_copy import local_copy

    for path in (local_copy(one, watcher=watcher) for one in photos):
        if str(path) == "-":
            for line in sys.stdin.buffer:
                if name := line.rstrip(b"\r\n"):
                    yield Path(os.fsdecode(name))
        elif _many(path):
            below = iter(photos_below(path))
            if (first := next(below, None)) is None:
                raise DatasetError(f"{path}: found no photos to predict.")
            yield first
            yield from below
        else:
            yield path


def _many(path: Path) -> bool:
    """Whether it is a folder, or a file that holds photos."""
    from imgreg.data.members import holds_photos

    try:
        return path.is_dir() or holds_photos(path)
    except OSError:  # a name of 300 bytes: reported when it is opened
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _counted(answers: Iterable[Prediction], watcher: Watcher) -> Iterator[Prediction]:
    for done, answer in enumerate(answers, start=1):
        watcher.step("predicting", done, 0, "")
        yield answer


def _write_text(answers: Iterable[Prediction], classifier: Classifier) -> int:
    from imgreg.reports.text import n_columns, visible

    width = max(n_columns(visible(label)) for label in classifier.classes)
    if classifier.confidence is not None:
        width = max(width, len(_ABSTAINED))
    n_bad = 0
    for answer in answers:
        path = visible(store_address(answer.path)).replace("\n", "\\n")
        if answer.error is not None:
            n_bad += 1
            click.echo(f"imgreg: {path}: {answer.error}", err=True)
        else:
            label, probability = _answered(answer)
            shares = ", ".join(f"{visible(name)} {share:.1%}" for name, share in (answer.probabilities or {}).items())
            if answer.votes:
                shares += "; votes " + ", ".join(f"{visible(name)} {n}" for name, n in answer.votes.items())
            notes = "".join(f"; {note}" for note in _notes(answer, classifier))
            click.echo(f"{label}{' ' * (width - n_columns(label))}  {probability:6.1%}  {path}  ({shares}{notes})")
    return n_bad


_ABSTAINED = "abstained"


def _answered(answer: Prediction) -> tuple[str, float]:
    """The answer as shown, and its probability: the one class of the prediction set, where there is a set."""
    from imgreg.reports.text import visible

    shares, label = answer.probabilities or {}, answer.label or ""
    if answer.abstained:
        return _ABSTAINED, shares[label]
    if answer.prediction_set:
        (label,) = answer.prediction_set
    return visible(label), shares[label]


def _notes(answer: Prediction, classifier: Classifier) -> Iterator[str]:
    from imgreg.reports.text import visible

    if answer.abstained:
        names = " or ".join(map(visible, answer.prediction_set or ())) or "no class"
        yield f"{names} at {classifier.confidence:.4g} confidence"
    if answer.unlike_training:
        yield (
            f"unlike the training photos: distance {answer.training_distance:.3f}, threshold "
            f"{answer.training_distance_threshold:.3f}"
        )


def _write_json(answers: Iterable[Prediction], classifier: Classifier) -> int:  # noqa: ARG001
    from imgreg.api.prediction import prediction_document

    n_bad = 0
    for answer in answers:
        n_bad += answer.error is not None
        sys.stdout.write(json.dumps(prediction_document(answer)) + "\n")
        sys.stdout.flush()
    return n_bad


def _write_csv(answers: Iterable[Prediction], classifier: Classifier) -> int:
    from imgreg.api.prediction import NOVELTY
    from imgreg.data.discovery import as_cell

    n_bad = 0
    with _surrogates_kept(sys.stdout) as out:
        table = csv.writer(out, lineterminator="\n")
        sets = ("prediction_set", "abstained") if classifier.confidence is not None else ()
        novelty = NOVELTY if classifier.novelty_threshold is not None else ()
        table.writerow(["path", "label", "probability", *classifier.classes, *sets, *novelty, "error"])
        for answer in answers:
            found = answer.probabilities or {}
            shares = [f"{found[label]:.6f}" if found else "" for label in classifier.classes]
            qualified = [_cell(getattr(answer, name)) for name in (*sets, *novelty)]
            probability = "" if answer.probability is None else f"{answer.probability:.6f}"
            path = as_cell(store_address(answer.path))
            table.writerow([path, answer.label or "", probability, *shares, *qualified, answer.error or ""])
            out.flush()
            n_bad += answer.error is not None
    return n_bad


def _cell(value: tuple[str, ...] | bool | float | None) -> str:
    """A prediction set as a|b, a flag as true or false, a distance with six decimals, nothing where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return "|".join(value) if isinstance(value, tuple) else f"{value:.6f}"


def _surrogates_kept(stream: TextIO) -> TextIO:
    """The stream, writing a file name's non-UTF-8 bytes as they are."""
    return open(stream.fileno(), "w", encoding="utf-8", errors="surrogateescape", newline="", closefd=False)
