"""The report of a search for a recipe: what it is worth, how it went, which settings mattered, what it found.

In: trials, scores of the outer folds, values as text. Out: PNG, SVG and HTML files. Must not know: how trials
are trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgreg.analysis.tune import FEW_TRIALS, RecipeSearch, SearchTrial, best_so_far, best_trial
from imgreg.reports.figure import LIGHT, dress, in_ink, new_figure, save_figure
from imgreg.reports.hover import hover_over
from imgreg.reports.page import Caption, chart, write_page
from imgreg.reports.run_axes import DASHED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BEST, _TRIED, _DEFAULT, _DROPPED = LIGHT.runs[0], LIGHT.runs[1], LIGHT.runs[2], "#767676"


@dataclass(frozen=True)
class Dimension:
    """A setting of the space: its dotted key, and its choices as they are typed, or the ends of its range."""

    key: str
    labels: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    def place(self, value: Any) -> float:
        """Where a value is between the ends, 0 to 1.

        >>> Dimension("head.l2", low=0.001, high=0.1, log=True).place(0.01)
        0.5
        """
        if self.labels:
            typed = "[" + ", ".join(map(str, value)) + "]" if isinstance(value, list | tuple) else str(value)
            typed = typed.lower() if isinstance(value, bool) else typed
            return self.labels.index(typed) / max(len(self.labels) - 1, 1) if typed in self.labels else 0.0
        low, high, x = (math.log(max(v, 1e-12)) if self.log else v for v in (self.low, self.high, value))
        return round(min(max((x - low) / (high - low), 0.0), 1.0), 6)


def tune_report(search: RecipeSearch, *, dimensions: Sequence[Dimension], folder: Path) -> None:
    """Write report.html, progress.png, settings.png and, where there are importances, importances.png.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    trials, default = search.trials, search.nested.effect.control
    n_dropped = sum(one.status == "dropped" for one in trials)
    figure = _progress(trials, default=default)
    charts = [
        chart(
            save_figure(figure, folder / "progress.png"),
            Caption(
                heading="The search on all photos, trial by trial",
                alt=f"Inner loss of {len(trials)} trials. {default}: {_loss_text(trials[0])}; the best, trial "
                f"{best_trial(trials).number}: {_loss_text(best_trial(trials))}.",
                caption="Mean test loss over the inner folds. "
                + (f"{n_dropped} of {len(trials)} trials were dropped early: estimates. " if n_dropped else "")
                + "The lowest point flatters: it was chosen for being low.",
            ),
            hover=hover_over(figure.axes[0], [one.number for one in trials], _trial_lines(trials)),
        )
    ]
    if search.importances:
        caution = (
            f" With {len(trials)} trials this is a hint, not a measurement: a second search may rank them differently."
            if len(trials) < FEW_TRIALS
            else ""
        )
        charts.append(
            chart(
                save_figure(_importances(search.importances), folder / "importances.png"),
                Caption(
                    heading="Which settings mattered",
                    alt=", ".join(f"{key} {share:.0%}" for key, share in search.importances.items()),
                    caption="PED-ANOVA: the share of each setting in what sets the best trials apart, within these "
                    f"ranges.{caution}",
                ),
            )
        )
    places = chart(
        save_figure(_settings(trials, dimensions), folder / "settings.png"),
        Caption(
            heading="Settings of every trial",
            alt="Parallel coordinates: a line for each trial through its value of each setting.",
            caption="Each line is a trial, the orange one the best; the darker blue, the lower its loss. Grey, dashed: "
            f"dropped early. Green, dashed: {default}.",
        ),
    )
    write_page(
        "tune.html.j2",
        target=folder / "report.html",
        search=search,
        charts=charts,
        places=places,
        raw=search.model_dump(mode="json", include={"nested", "outer_folds", "trials"}),
    )


def _loss_text(trial: SearchTrial) -> str:
    return "diverged" if trial.loss is None else f"{trial.loss:.3f}"


def _trial_lines(trials: Sequence[SearchTrial]) -> list[str]:
    """What the pointer shows of each trial."""
    lines = []
    for one, best in zip(trials, best_so_far(trials), strict=True):
        about = {"complete": "loss", "dropped": "dropped early, about", "diverged": ""}[one.status]
        lines.append(f"Trial {one.number}: {about} {_loss_text(one)}, best so far {best:.3f}".replace(":  ", ": "))
    return lines


def _progress(trials: Sequence[SearchTrial], *, default: str) -> Figure:
    figure = new_figure(7.2, 4.0)
    axes = figure.subplots()
    looks: dict[str, tuple[str, dict[str, Any]]] = {
        "dropped": ("dropped early (estimate)", {"markerfacecolor": "none", "markeredgecolor": _DROPPED}),
        "complete": ("trial", {"color": _TRIED}),
    }
    for status, (label, style) in looks.items():
        kept = [(one.number, one.loss) for one in trials if one.status == status and one.loss is not None]
        if kept:
            axes.plot(*zip(*kept, strict=True), "o", markersize=5, label=label, **style)
    best = best_so_far(trials)
    axes.step(range(len(best)), best, where="post", color=_BEST, linewidth=2, label="best so far")
    axes.axhline(best[0], color=_DEFAULT, linestyle=DASHED, linewidth=1.6, label=default[:28])
    losses = [one.loss for one in trials if one.loss is not None]
    room = 0.06 * (best[0] - best[-1]) + 0.02
    axes.set_ylim(best[-1] - room, min(max(losses), max(1.6 * best[0], 2 * best[0] - best[-1])) + room)
    axes.set_xlabel("trial", fontsize=11)
    axes.set_ylabel("inner loss (nats)", fontsize=11)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=10, labelcolor=LIGHT.ink)
    axes.locator_params(axis="x", integer=True)
    dress(axes)
    return figure


def _importances(importances: Mapping[str, float]) -> Figure:
    figure = new_figure(6.6, 1.0 + 0.34 * len(importances))
    axes = figure.subplots()
    names, shares = list(importances)[::-1], [100 * share for share in importances.values()][::-1]
    axes.barh(range(len(names)), shares, color=_TRIED, height=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("importance (%)", fontsize=11)
    dress(axes)
    axes.grid(axis="y", visible=False)
    return figure


def _settings(trials: Sequence[SearchTrial], dimensions: Sequence[Dimension]) -> Figure:
    """Parallel coordinates, the axes lying one below the other, so that a phone shows them too."""
    figure = new_figure(6.6, 0.8 + 0.72 * len(dimensions))
    axes = figure.subplots()
    rows = list(range(len(dimensions)))[::-1]
    best, losses = best_trial(trials), sorted(one.loss for one in trials if one.status == "complete" and one.loss)
    for row, dimension in zip(rows, dimensions, strict=True):
        _axis(axes, row, dimension)
    order = sorted(trials, key=lambda one: (one is best, one.number == 0, one.status == "complete"))
    for one in order:
        if one.status == "diverged":
            continue
        across = [each.place(one.values[each.key]) for each in dimensions]
        if one is best:
            style: dict[str, Any] = {"color": _BEST, "linewidth": 2.6}
        elif one.number == 0:
            style = {"color": _DEFAULT, "linewidth": 2, "linestyle": DASHED}
        elif one.status == "dropped":
            style = {"color": _DROPPED, "linewidth": 0.7, "linestyle": DASHED, "alpha": 0.5}
        else:
            rank = losses.index(one.loss) / max(len(losses) - 1, 1) if one.loss in losses else 1.0
            style = {"color": _TRIED, "linewidth": 1.2, "alpha": 0.85 - 0.65 * rank}
        axes.plot(across, rows, **style)
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(-0.55, len(rows) - 0.4)
    axes.set_yticks(rows, [one.key.replace(".", "\n", 1) for one in dimensions], fontsize=9.5)
    axes.set_xticks([])
    axes.set_facecolor(LIGHT.paper)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0)
    in_ink(axes)
    return figure


def _axis(axes: Axes, row: int, one: Dimension) -> None:
    """A line with its values written below."""
    axes.plot([0, 1], [row, row], color=LIGHT.grid, linewidth=5, solid_capstyle="round", zorder=0)
    marks = (
        {i / max(len(one.labels) - 1, 1): label for i, label in enumerate(one.labels)}
        if one.labels
        else {0.0: f"{one.low:g}", 1.0: f"{one.high:g}"}
    )
    for x, label in marks.items():
        side = "left" if x == 0 else "right" if x == 1 else "center"
        axes.plot([x], [row], "|", color=LIGHT.ink, markersize=7, zorder=1)
        box = {"facecolor": LIGHT.paper, "edgecolor": "none", "alpha": 0.85, "pad": 1}
        axes.text(
            *(x, row - 0.18, label),
            ha=side,
            va="top",
            fontsize=8.5,
            color=LIGHT.ink,
            zorder=5,
            bbox=box,
            parse_math=False,
        )
