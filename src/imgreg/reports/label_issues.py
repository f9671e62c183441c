"""report.html of doubtful labels: a card for each photo to keep, relabel or drop, and the dataset saved as a manifest.

In: ranked labels, pictures of the photos to review, and every photo of the dataset. Out: an HTML file.
Must not know: how labels are ranked, where photos are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from imgreg.analysis.label_issues import LabelRow
from imgreg.analysis.results import Findings
from imgreg.reports.page import jpeg_address, write_page


def label_issues_report(
    rows: Sequence[LabelRow],
    *,
    manifest: Sequence[tuple[str, str, str]],
    pictures: Mapping[int, bytes],
    findings: Findings,
    data: str,
    target: Path,
) -> None:
    """Write report.html.

    Parameters
    ----------
    rows : sequence of LabelRow
        The photos to review, the most doubtful first; `photo` indexes the manifest.
    manifest : sequence of (str, str, str)
        Path, label and split of every photo of the dataset; the split is empty where none is given.
    pictures : mapping
        JPEG by the photo's row in the manifest, of those that are available.
    data : str
        The folder that the paths start from, as a shared file names it.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    write_page(
        "label_issues.html.j2",
        target=target,
        scripts=("label_issues.js",),
        rows=rows,
        paths=[manifest[row.photo][0] for row in rows],
        pictures={photo: jpeg_address(data) for photo, data in pictures.items()},
        findings=findings,
        n_photos=len(manifest),
        data=data,
        raw={
            "manifest": manifest,
            "cards": [{"photo": row.photo, "other": row.other} for row in rows],
        },
    )
