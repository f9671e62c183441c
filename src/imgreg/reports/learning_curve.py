"""The score against the number of train photos: figure, and its report.

In: learning curves. Out: PNG and HTML files. Must not know: how scores came about.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imgreg.analysis.learning_curve import LearningCurve, decision
from imgreg.analysis.results import Findings
from imgreg.reports.figure import LIGHT, dress, figure_svg, new_figure, save_figure
from imgreg.reports.page import Caption, chart, write_page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def learning_curve_report(
    error: LearningCurve,
    loss: LearningCurve,
    *,
    findings: Findings,
    recipe: str,
    folder: Path,
) -> None:
    """Write report.html, and both curves side by side as curve.png and .svg. raises OSError if the disk refuses"""
    save_figure(_figure([(error, True), (loss, False)]), folder / "curve.png")
    charts = []
    for curve, as_accuracy, heading in ((error, True, "Test accuracy"), (loss, False, "Test loss")):
        points = ", ".join(
            f"{size}: {1 - mean:.1%}" if as_accuracy else f"{size}: {mean:.2f}"
            for size, mean in zip(curve.sizes, curve.means, strict=True)
        )
        charts.append(
            chart(
                figure_svg(_figure([(curve, as_accuracy)])),
                Caption(
                    heading=heading,
                    alt=f"{heading} by number of train photos. {points}.",
                    caption="Dots: means over the repeats with 95 % intervals. Line and band: fitted power law with "
                    "its 95 % interval; dashed: extrapolation.",
                ),
            )
        )
    write_page(
        "learning_curve.html.j2",
        target=folder / "report.html",
        error=error,
        loss=loss,
        decision=decision(error),
        findings=findings,
        recipe=recipe,
        charts=charts,
        raw={"test_error": error.model_dump(mode="json"), "test_loss": loss.model_dump(mode="json")},
    )


def _figure(curves: Sequence[tuple[LearningCurve, bool]]) -> Figure:
    figure = new_figure(6.2 * len(curves), 4.2)
    for axes, (curve, as_accuracy) in zip(figure.subplots(1, len(curves), squeeze=False).flat, curves, strict=True):
        _draw(axes, curve, as_accuracy=as_accuracy)
    return figure


def _draw(axes: Axes, curve: LearningCurve, *, as_accuracy: bool) -> None:
    def shown(values: Sequence[float]) -> np.ndarray:
        return 100 * (1 - np.asarray(values)) if as_accuracy else np.asarray(values)

    colour = LIGHT.runs[1]
    sizes, today = np.asarray(curve.sizes), curve.sizes[-1]
    grid = np.array([point.n_train for point in curve.fitted])
    lows, highs = (shown([getattr(point, side) for point in curve.fitted]) for side in ("low", "high"))
    scores = shown([point.score for point in curve.fitted])
    axes.fill_between(grid, lows, highs, color=colour, alpha=0.15, linewidth=0)
    for part, style in ((grid <= today, "-"), (grid >= today, (0, (3.2, 1.6)))):
        axes.plot(grid[part], scores[part], color=colour, linestyle=style, linewidth=2)
    means, ends = shown(curve.means), np.sort([shown(curve.lows), shown(curve.highs)], axis=0)
    axes.vlines(sizes, ends[0], ends[1], color=LIGHT.ink, linewidth=1.2)
    axes.plot(sizes, means, "o", color=LIGHT.ink, markersize=5)
    axes.plot([grid[-1]], [scores[-1]], "o", markerfacecolor="none", markeredgecolor=colour, markersize=7)
    axes.set_xscale("log", base=2)
    ticks = [*curve.sizes, int(grid[-1])] if grid[-1] > 1.25 * today else list(curve.sizes)
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("train photos", fontsize=11)
    axes.set_ylabel("test accuracy (%)" if as_accuracy else "test loss (nats)", fontsize=11)
    shown_values = np.concatenate([means, scores, lows, highs, *ends])
    room = 0.04 * float(np.ptp(shown_values)) + 1e-3
    axes.set_ylim(max(float(shown_values.min()) - room, 0), float(shown_values.max()) + room)
    if as_accuracy:
        axes.set_ylim(top=min(axes.get_ylim()[1], 100.5))
    dress(axes)
