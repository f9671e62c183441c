"""Grad-CAM maps of a run's worst mistakes, kept for its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imgreg.data import decode as decoding
from imgreg.heads.explain import explain
from imgreg.heads.network import Network
from imgreg.runs.folder import Run
from imgreg.training.thumbnails import FOLDER, MAP, PICTURE_PX, photo_bytes

N_MAPS = 9  # worst mistakes of a run that get a map


def keep_maps(
    folder: Path,
    run: Run,
    rows: Sequence[tuple[int, int]],
    *,
    network: Network,
) -> None:
    """Write the Grad-CAM maps of some photos, overlaid on them, to folder/pictures.

    Parameters
    ----------
    rows : sequence of (int, int)
        Rows of run.split, each with the index of the class whose evidence is shown. With cross-validation the map is
        of the head that was not trained on the photo, if there is one.
    """
    from imgreg.reports.pictures import jpeg, overlay

    found = [(run.split[row], k, photo_bytes(run, run.split[row])) for row, k in rows]
    available = [(row, k, data) for row, k, data in found if data is not None]
    squares = [decoding.decode(data, size_px=run.summary.image_size) for _, _, data in available]
    asked = [row.fold if row.on("val") else None for row, _, _ in available]  # no head saw a test photo: all are asked
    maps = explain(squares, [k for _, k, _ in available], network=network, asked=asked, n_random=0)
    (folder / FOLDER).mkdir(exist_ok=True)
    for (row, _, data), one in zip(available, maps, strict=True):
        shown = overlay(decoding.picture(data, longest_px=PICTURE_PX), one.map)
        (folder / FOLDER / f"{row.sha256}{MAP}.jpg").write_bytes(jpeg(shown))
