"""Where a head looks: maps for a run's report, and imgreg explain."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from imgreg.analysis.compare import distinct
from imgreg.api.classifier import checked_card, load_classifier, recorded_weights
from imgreg.api.predict import photo_probabilities
from imgreg.atomic_write import WINDOWS, write_atomic
from imgreg.data import decode as decoding
from imgreg.data.isolated_reading import in_workers
from imgreg.data.store_copy import local_copy
from imgreg.errors import DatasetError, PhotoError, UsageError
from imgreg.heads.explain import Explanation, explain
from imgreg.heads.network import network_of
from imgreg.heads.store import load_head
from imgreg.lazy_imports import load_keras
from imgreg.progress import Watcher
from imgreg.runs.folder import read_run
from imgreg.training.new_folder import refuse_inside

SHOWN_PX = 640  # longer side of the picture that explain writes
ALIKE = 0.5  # a map that random heads share by more says little of this head


@dataclass(frozen=True)
class Explained:
    """One photo explained. `likeness` is None where the map is empty: no place speaks for the class."""

    path: Path
    label: str  # the class explained
    probability: float
    answer: str
    likeness: float | None
    overlay: Path
    map: Path


def explain_photos(
    photos: Sequence[Path], *, run: Path, out: Path, label: str | None = None, watcher: Watcher | None = None
) -> Iterator[Explained]:
    """Write NAME-explained.png and NAME-map.npy for each photo, into `out`.

    Parameters
    ----------
    label : str, optional
        The class to explain; by default each photo's predicted class.

    Raises
    ------
    DatasetError
        If a photo cannot be read, before anything is written.
    UsageError
        For a class that the run does not have, or if `out` is a photo's own folder.
    ArtefactError
        If the run is damaged.
    """
    watcher = watcher or Watcher()
    card, saved = checked_card(run), load_head(run)
    if label is not None and label not in card.classes:
        raise UsageError(f"--class {label}: expected one of the run's classes, {', '.join(card.classes)}.")
    photos = [local_copy(photo, watcher=watcher) for photo in photos]
    trained_on = read_run(run).data
    if trained_on is not None and trained_on.is_dir():
        refuse_inside(trained_on, out, option="--out")
    for photo in photos:
        if photo.parent.resolve() == out.resolve():
            raise UsageError(
                f"--out {out} is the folder of {photo.name}; imgreg never writes to photo folders. Choose another."
            )
    read = _read(photos)
    squares = [decoding.decode(data, size_px=card.image_size) for _, data in read]
    network = network_of(saved, recorded_weights(card, run=run))
    classifier = load_classifier([run], one_photo=len(squares) == 1, watcher=watcher)
    predicted = list(photo_probabilities(squares, classifier=classifier))
    watcher.step("loading Keras", 0, 1, "")
    load_keras()
    watcher.step("loading Keras", 1, 1, "")
    out.mkdir(parents=True, exist_ok=True)
    shown = [int(row.argmax()) if label is None else card.classes.index(label) for row in predicted]
    explained = explain(squares, shown, network=network)
    stems = distinct([_short(photo.stem) for photo in photos])
    for done, ((photo, data), stem, row, one) in enumerate(
        zip(read, stems, predicted, explained, strict=True), start=1
    ):
        watcher.step("explaining", done, len(read), "")
        yield _written(photo, data, one, row, classes=card.classes, named=out / stem)


def explain_decoded(pixels: NDArray[np.uint8], *, run: Path, label: str) -> Explanation:
    """Show which places of a photo, decoded to the run's image size, support a class.

    Raises
    ------
    UsageError
        For a class that the run does not have.
    ArtefactError
        If the run is damaged.
    """
    card, saved = checked_card(run), load_head(run)
    if label not in card.classes:
        raise UsageError(f"class {label}: expected one of the run's classes, {', '.join(card.classes)}.")
    load_keras()
    network = network_of(saved, recorded_weights(card, run=run))
    (explained,) = explain([pixels], [card.classes.index(label)], network=network)
    return explained


def known_likeness(explained: Explanation) -> float | None:
    return None if np.isnan(explained.likeness) else explained.likeness


def likeness_note(likeness: float | None) -> str:
    """What the comparison with heads of random weights says of a heatmap."""
    if likeness is None:
        return "no region supports this class, or the heatmap is uniform"
    if likeness > ALIKE:
        return f"caution: heads with random weights give a similar heatmap (rank correlation {likeness:.2f})"
    return f"heads with random weights give a different heatmap (rank correlation {likeness:.2f})"


def _short(name: str) -> str:
    """A name that leaves room for what is added to it: file systems take 255 bytes."""
    if WINDOWS:  # which counts UTF-16 units, and cannot decode a character that was cut
        return name[:100]
    return os.fsdecode(os.fsencode(name)[:200])


def _read(photos: Sequence[Path]) -> list[tuple[Path, bytes]]:
    """Each photo's bytes, once they were decoded in a process with bounds. raises DatasetError"""

    def refuse(photo: Path, error: PhotoError) -> bytes:
        raise DatasetError(f"{photo}: {error}. Expected a photo (JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF).") from error

    return list(zip(photos, in_workers(decoding.readable_bytes, photos, failed=refuse), strict=True))


def _written(
    photo: Path,
    data: bytes,
    one: Explanation,
    probabilities: NDArray[np.floating],
    *,
    classes: Sequence[str],
    named: Path,
) -> Explained:
    """Write one photo's overlay and map; `probabilities` are those of predict, (n_classes,)."""
    from imgreg.reports.explanation import explanation_figure

    target = named.with_name(f"{named.name}-explained.png")
    label, answer = classes[one.explained], classes[int(probabilities.argmax())]
    done = Explained(
        path=photo,
        label=label,
        probability=float(probabilities[one.explained]),
        answer=answer,
        likeness=known_likeness(one),
        overlay=target,
        map=named.with_name(f"{named.name}-map.npy"),
    )
    title = f"{label}: {done.probability:.1%}" + ("" if label == answer else f" (predicted: {answer})")
    explanation_figure(decoding.picture(data, longest_px=SHOWN_PX), one.map, title=title, target=target)
    array = BytesIO()
    np.save(array, one.map, allow_pickle=False)
    write_atomic(done.map, array.getvalue())
    return done
