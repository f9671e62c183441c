"""Legends beside the curves of several runs: what the line styles mean, and a line for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from imgreg.reports.figure import LIGHT
from imgreg.reports.fonts import drawable, families
from imgreg.reports.run_axes import DASHED, PlotOptions, Side
from imgreg.reports.text import one_line
from imgreg.runs.history import History

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAME_LIMIT = 48  # characters of a run's name in a legend or title
_LEGEND: dict[str, Any] = {"fontsize": 10, "frameon": False, "handlelength": 2.6}


def runs_legend(figure: Figure, runs: Mapping[str, History], *, options: PlotOptions) -> None:
    """What the line styles mean above the axes, and a line a run below them."""
    from matplotlib.lines import Line2D

    styles_legend(figure, sides=options.sides)
    handles = [Line2D([], [], color=options.colour(i), linewidth=4) for i in range(len(runs))]
    legend = figure.legend(
        handles,
        [str(i) for i in range(len(runs))],  # a label that begins with _ would be dropped: set below
        loc="outside lower center",
        labelspacing=0.3,
        labelcolor=LIGHT.ink,
        **_LEGEND,
    )
    for text, (name, history) in zip(legend.get_texts(), runs.items(), strict=True):
        best, last = history.best, history.last
        text.set_parse_math(False)
        text.set_fontfamily(families())
        text.set_text(
            f"{drawable(one_line(name, limit=NAME_LIMIT))}: lowest validation loss {best.val_loss:.2f} "
            f"(epoch {best.epoch}), last {last.val_loss:.2f}"
        )


def styles_legend(figure: Figure, *, sides: Sequence[Side]) -> None:
    from matplotlib.lines import Line2D

    styles = {
        **({"train": Line2D([], [], color=LIGHT.ink, linewidth=1.9)} if "train" in sides else {}),
        "validation": Line2D([], [], color=LIGHT.ink, linewidth=1.9, linestyle=DASHED),
        "lowest validation loss": Line2D([], [], color=LIGHT.ink, linestyle="", marker="o", markersize=7),
    }
    figure.legend(
        list(styles.values()),
        list(styles),
        ncols=3,
        loc="outside upper center",
        labelcolor=LIGHT.ink,
        **_LEGEND,
    )
