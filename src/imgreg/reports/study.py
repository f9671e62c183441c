"""A study's report and its figures: effects as a forest, validation curves by topic, the ranked table.

In: a finished study. Out: PNG, SVG and HTML files. Must not know: how trials are made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from imgreg.analysis.conclusion import Conclusion, doubted
from imgreg.analysis.curves import gaussian_smoothed
from imgreg.analysis.lr_find import TriedRates
from imgreg.analysis.results import Study
from imgreg.analysis.study import StudyTable
from imgreg.analysis.suspicions import SHORTCUT, suspect_result
from imgreg.config import CurveStyle
from imgreg.reports.capacity import capacity_figure, capacity_in_words, capacity_points
from imgreg.reports.epoch_axis import dress_epochs, within
from imgreg.reports.figure import LIGHT, figure_svg, new_figure, recipe_colours, save_figure
from imgreg.reports.fonts import drawable, families
from imgreg.reports.forest import NAME_LIMIT, forest_figure
from imgreg.reports.hover import hover_over, value_lines
from imgreg.reports.lr_find import learning_rate_figure
from imgreg.reports.page import Caption, Chart, chart, write_page
from imgreg.reports.run_axes import DASHED, FAINT
from imgreg.reports.text import one_line
from imgreg.runs.summary import SanityBaseline
from imgreg.runs.trial import Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _capacity(done: Study, *, target: Path) -> Chart | None:
    """Losses over the number of parameters, where a group of recipes has heads of different size; else no file."""
    sizes = {row.recipe: row.n_parameters for row in done.table.rows if row.n_parameters is not None}
    points = capacity_points(done.trials, groups=done.groups, n_parameters=sizes)
    if not points:
        return None
    return chart(
        save_figure(capacity_figure(points), target),
        Caption(
            heading="Error over capacity",
            alt=capacity_in_words(points),
            caption="Means over the repeats. A high train loss is bias (underfitting); the gap between validation and "
            "train loss is variance (overfitting).",
        ),
    )


def _rates(rates: TriedRates, *, target: Path) -> Chart:
    """The range test of the control, with the rates that were tried."""
    control = next(iter(rates.tried))
    return chart(
        learning_rate_figure(rates.curve, marked=rates.labels, target=target),
        Caption(
            heading=f"Range test of {control}",
            alt=rates.sentence,
            caption="Training loss of successive batches while the learning rate grows. The table shows which rate "
            "gives the lowest test loss. Recipes with another optimizer are left out.",
        ),
    )


def study_report(done: Study, *, folder: Path, style: CurveStyle) -> None:
    """Write report.html, and as .png and .svg forest, curves and, where there are any, capacity and learning_rates.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    table, trials, groups = done.table, done.trials, done.groups
    effects = [row.effect for row in table.rows if row.effect is not None]
    forest = forest_figure(effects, control=table.control, what="test loss (nats)")
    save_figure(_curves(trials, groups=groups, style=style), folder / "curves.png")
    differences = chart(
        save_figure(forest, folder / "forest.png"),
        Caption(
            heading="Difference to the control",
            alt="Each recipe's mean difference in test loss, with its 95 % interval; the figures are in the table.",
            caption=f"Left of the line is better than {table.control}. Intervals by Nadeau and Bengio's corrected t.",
        ),
    )
    panels = [_panel(heading, {name: trials[name] for name in names}, style) for heading, names in groups.items()]
    write_page(
        "study.html.j2",
        target=folder / "report.html",
        table=table,
        derived=_derived_in_words(table),
        doubt=_doubt(table, done.sanity_baselines),
        helped=any(row.effect is not None and row.effect.word == "helped" for row in table.rows),
        answer=done.answer,
        notes=done.notes,
        sanity_baselines=done.sanity_baselines,
        baselines=done.baselines,
        command=done.command,
        charts=(differences, *panels),
        capacity=_capacity(done, target=folder / "capacity.png"),
        rates=None if done.rates is None else _rates(done.rates, target=folder / "learning_rates.png"),
        raw={name: [trial.model_dump(mode="json") for trial in row] for name, row in trials.items()},
    )


def _doubt(table: StudyTable, sanity_baselines: Sequence[SanityBaseline]) -> Conclusion | None:
    """Whether a sanity baseline accounts for much of what the best recipe reaches."""
    reached = max(row.test_accuracy for row in table.rows)
    constant = next((one.accuracy for one in sanity_baselines if one.name == "majority"), None)
    if constant is None:
        return None
    found = suspect_result(sanity_baselines, accuracy=reached, largest_share=constant)
    return next((doubted(one) for one in found if one.kind == SHORTCUT), None)


def _panel(heading: str, trials: Mapping[str, Sequence[Trial]], style: CurveStyle) -> Chart:
    figure = _curves(trials, groups={heading: list(trials)}, style=style, titles=False, width=6.2)
    means = {one_line(name, limit=NAME_LIMIT): _mean_curve(row) for name, row in trials.items()}
    n_epochs = max(map(len, means.values()))
    columns = {
        name: [f"{value:.3f}" for value in mean] + ["–"] * (n_epochs - len(mean)) for name, mean in means.items()
    }
    return chart(
        figure_svg(figure),
        Caption(
            heading=f"Validation loss: {heading}",
            alt=f"Validation loss by epoch of {', '.join(trials)}, means over the repeats.",
            caption="Means over the repeats; the dot is the lowest mean.",
        ),
        hover=hover_over(figure.axes[0], np.arange(1, n_epochs + 1), value_lines("Epoch {}", columns)),
    )


def _curves(
    trials: Mapping[str, Sequence[Trial]],
    *,
    groups: Mapping[str, Sequence[str]],
    style: CurveStyle,
    titles: bool = True,
    width: float = 8.4,
) -> Figure:
    n_columns = min(len(groups), 2)
    n_rows = math.ceil(len(groups) / n_columns)
    figure = new_figure(width if n_columns == 1 else 14, 0.55 * width * n_rows if n_columns == 1 else 4.6 * n_rows)
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    means = {name: _mean_curve(row) for name, row in trials.items()}
    for axes, (heading, names) in zip(panels, groups.items(), strict=False):
        lowest = max(float(means[name][0]) for name in names)
        colours = _colours(trials if len(trials) <= len(LIGHT.runs) else names)
        for number, name in enumerate(names):
            colour = colours[name]
            curve = means[name]
            epochs = np.arange(1, len(curve) + 1)
            smooth = gaussian_smoothed(curve, std_epochs=style.smooth)
            axes.plot(epochs, smooth, color=colour, linewidth=2.2 if number == 0 else 1.5, linestyle=DASHED)
            if style.smooth:
                axes.plot(epochs, curve, color=colour, linewidth=0.9, alpha=FAINT)
            best = int(np.argmin(curve))
            label = drawable(one_line(name, limit=NAME_LIMIT))
            axes.plot([], [], color=colour, linewidth=2, linestyle=DASHED, label=label)
            axes.plot([epochs[best]], [curve[best]], "o", color=colour, markersize=5)
        ends = [float(means[name][-1]) for name in names]
        top = min(max(lowest, *ends) * 1.1, 4 * float(np.median([means[n].min() for n in names])))
        axes.set_ylim(*within(style.ylim, (0, top)))
        if titles:
            axes.set_title(drawable(one_line(heading, limit=60)), fontsize=12, fontfamily=families(), parse_math=False)
        axes.set_ylabel("validation loss (nats)", fontsize=11)
        dress_epochs(axes, n_epochs=max(len(means[name]) for name in names), style=style)
        font = {"family": families(), "size": 9}
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), prop=font, labelcolor=LIGHT.ink)
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    return figure


def _mean_curve(row: Sequence[Trial]) -> np.ndarray:
    n_epochs = min(len(trial.val_losses) for trial in row)  # an early stop ends the mean
    return np.asarray(np.mean([trial.val_losses[:n_epochs] for trial in row], axis=0))


def _colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each recipe: its own, or along one scale where there are more recipes than colours."""
    names = list(names)
    if len(names) <= len(LIGHT.runs):
        return {name: LIGHT.runs[i] for name, i in zip(names, recipe_colours(names), strict=True)}
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return {name: to_hex(colormaps["turbo"](0.05 + 0.9 * i / (len(names) - 1))) for i, name in enumerate(names)}


def _derived_in_words(table: StudyTable) -> tuple[str, ...]:
    """An explanation of each row that no recipe was trained for (recipes/topics.py: Derived)."""
    names = [row.recipe for row in table.rows]
    searched = [
        f"{name}: in each repeat the {name.removesuffix(' searched')} recipe with the lowest validation loss."
        for name in names
        if name.endswith(" searched")
    ]
    voted = [f"{name}: the mean of the probabilities of the ladder's heads." for name in names if name == "5 vote"]
    return (*searched, *voted)
