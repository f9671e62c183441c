"""Grad-CAM maps of a run's worst mistakes, kept for its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imgreg.data import decode as decoding
from imgreg.features.backbone import Preprocessing
from imgreg.features.weights import Weights
from imgreg.heads.ensemble import Arrays
from imgreg.heads.explain import explain
from imgreg.heads.plan import Layer
from imgreg.runs.folder import Run
from imgreg.training.thumbnails import FOLDER, MAP, PICTURE_PX, photo_bytes

N_MAPS = 9  # worst mistakes of a run that get a map


def keep_maps(
    folder: Path,
    run: Run,
    rows: Sequence[tuple[int, int]],
    *,
    base: Weights,
    plan: Sequence[Layer],
    heads: Sequence[Arrays],
    preprocessing: Preprocessing,
    blocks: Sequence[Arrays] = (),
) -> None:
    """Put the maps of some photos, laid over them, into folder/pictures.

    rows   of run.split, each with the class, an index, whose evidence is shown; with cross-validation by the head that
           was not trained on the photo, if there is one
    """
    from imgreg.reports.pictures import jpeg, overlay

    found = [(run.split[row], k, photo_bytes(run, run.split[row])) for row, k in rows]
    had = [(row, k, data) for row, k, data in found if data is not None]
    squares = [decoding.decode(data, size_px=run.summary.image_size) for _, _, data in had]
    asked = [row.fold if row.on("val") else None for row, _, _ in had]  # no head saw a test photo: all are asked
    maps = explain(
        squares,
        [k for _, k, _ in had],
        base=base,
        plan=plan,
        heads=heads,
        blocks=blocks,
        asked=asked,
        n_random=0,
        preprocessing=preprocessing,
    )
    (folder / FOLDER).mkdir(exist_ok=True)
    for (row, _, data), one in zip(had, maps, strict=True):
        shown = overlay(decoding.picture(data, longest_px=PICTURE_PX), one.map)
        (folder / FOLDER / f"{row.sha256}{MAP}.jpg").write_bytes(jpeg(shown))
