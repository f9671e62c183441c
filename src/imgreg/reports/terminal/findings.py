"""What was found in a set of photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imgreg.data.index import PhotoIndex
from imgreg.data.issues import SEVERITIES, Finding
from imgreg.reports.terminal.parts import line_to_copy, stacked, text_of
from imgreg.reports.text import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = 3  # of a finding's files, without --verbose
_TONES = {"stops training": "bold red", "left out": "bold yellow", "take care": "bold yellow"}
_WORDS = {"take care": "warning", "for your information": "note"}  # the others are shown as they are


def findings_text(
    index: PhotoIndex, findings: Sequence[Finding], *, every: bool, manifest: Path | None, command: str
) -> RenderableType:
    """How many photos there are, each finding (its code, how many, what to do, and some of its files), what next.

    Parameters
    ----------
    every : bool
        All files instead of some.
    manifest : Path or None
        The manifest that was written.
    command : str
        The next command.
    """
    counts = Counter(photo.label for photo in index.photos)
    of_classes = ", ".join(f"{one_line(label, limit=24)} {counts[label]}" for label in index.classes)
    lines: list[RenderableType] = [
        text_of(f"{len(index.photos)} photos ({of_classes}), {len(index.skipped)} files left out."),
        *(text_of(f"Note: {note}") for note in index.notes),
    ]
    if not findings:
        lines.append(text_of("No problems found.", style="bold green"))
    for severity in SEVERITIES:
        for one in (finding for finding in findings if finding.severity == severity):
            count = f": {len(one.files)}" if one.files else ""
            lines += [
                text_of(""),
                text_of(f"{one.code}{count} ({_WORDS.get(severity, severity)})", style=_TONES.get(severity, "bold")),
                text_of(f"{one.says[0].upper()}{one.says[1:]}. {one.advice}"),
                *_files(one, every=every),
            ]
    if manifest is not None:
        lines.append(line_to_copy("Manifest: ", str(manifest)))
    return stacked(*lines, line_to_copy("Next: ", command))


def _files(one: Finding, *, every: bool) -> list[RenderableType]:
    shown = one.files if every else one.files[:SHOWN]
    details = one.details or ("",) * len(one.files)
    lines: list[RenderableType] = [
        text_of(f"  {' = '.join(_shown(path) for path in group)}{f': {detail}' if detail else ''}")
        for group, detail in zip(shown, details, strict=False)
    ]
    if len(shown) < len(one.files):
        lines.append(text_of(f"  and {len(one.files) - len(shown)} more (-v or --json lists all)", style="dim"))
    return lines


def _shown(path: str) -> str:
    return one_line(path, limit=70)
