"""What an analysis or Grad-CAM found, as a value that shows itself in a notebook."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imgreg.api.table import Table

if TYPE_CHECKING:
    from imgreg.api.run import TrainedRun
    from imgreg.config import Recipe


@dataclass(frozen=True, repr=False)
class Result:
    """The result of a comparison, a study, a learning curve, or a check of labels or photos.

    Attributes
    ----------
    title : str
        What was computed.
    answer : tuple of str
        The findings in sentences, the most important first.
    table : Table
        The numbers behind them.
    document : dict
        The whole result as plain values, as the command prints it with --json.
    folder : Path or None
        Folder of the report and its files; None if nothing was written.
    figure : str
        File name of the main figure in that folder, an SVG or PNG; empty for none.
    """

    title: str
    answer: tuple[str, ...]
    table: Table
    document: dict[str, Any]
    folder: Path | None = None
    figure: str = ""

    @property
    def report(self) -> Path | None:
        """The HTML report, if there is one."""
        report = self.folder / "report.html" if self.folder else None
        return report if report and report.is_file() else None

    def __repr__(self) -> str:
        return "\n".join([self.title, *self.answer, str(self.table)])

    def _repr_html_(self) -> str:
        return (
            f"<h3>{escape(self.title)}</h3>"
            + "".join(f"<p>{escape(line)}</p>" for line in self.answer)
            + tables_html(self.table)
            + (figure_html(self.folder / self.figure, alt=self.title) if self.folder and self.figure else "")
            + (f"<p>Report: {escape(str(self.report))}</p>" if self.report else "")
        )


@dataclass(frozen=True, repr=False)
class ComparisonResult(Result):
    """A comparison with its runs, the first of which is the control."""

    runs: tuple[TrainedRun, ...] = field(default=())


@dataclass(frozen=True, repr=False)
class TuneResult(Result):
    """A search for a recipe: what it found, and the run that was trained with it."""

    recipe: Recipe = field(kw_only=True)
    run: TrainedRun = field(kw_only=True)


@dataclass(frozen=True, repr=False)
class Explained:
    """What supports a class in one photo. In a notebook it shows the photo with the heatmap.

    Attributes
    ----------
    label, probability : str, float
        The explained class and its probability.
    answer : str
        The predicted class.
    map : (rows, columns) float32
        Grad-CAM, 0..1.
    png : bytes
        The photo with the heatmap over it.
    """

    label: str
    probability: float
    answer: str
    map: np.ndarray[Any, np.dtype[np.float32]]
    png: bytes

    def __repr__(self) -> str:
        return f"Explained({self.label!r}, probability {self.probability:.3f})"

    def _repr_html_(self) -> str:
        return (
            f'<p>{escape(self.label)}: {self.probability:.1%}</p><img alt="Grad-CAM for {escape(self.label)}" '
            f'src="data:image/png;base64,{base64.b64encode(self.png).decode()}">'
        )


def tables_html(table: Table) -> str:
    """A table as HTML; nothing for an empty one."""
    return table._repr_html_() if len(table) else ""


def figure_html(path: Path, *, alt: str) -> str:
    """A figure's file as an image that holds its own bytes; nothing where there is no such file."""
    if not path.is_file():
        return ""
    kind = "svg+xml" if path.suffix == ".svg" else path.suffix[1:]
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{escape(alt)}" style="max-width:100%" src="data:image/{kind};base64,{data}">'
