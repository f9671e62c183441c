"""Figures of a head's layers: gradients, weights and outputs by epoch, and scores with silent units.

In: a run. Out: figures, with what to show at the pointer. Must not know: how they were measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from imgreg.reports.figure import LIGHT, colour_of, dress, new_figure
from imgreg.reports.hover import Hover, hover_over, value_lines
from imgreg.reports.performance import Drawn
from imgreg.reports.text import one_line
from imgreg.runs.layers import LayerRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from imgreg.runs.folder import Run

MAX_LAYERS = 6  # in one figure: the first, and those nearest to the output
VANISHING = (
    0.1  # of the output layer's gradient; measured: 0.8 to 5 in relu and elu heads, 0.001 to 0.04 in sigmoid ones
)
EARLY = 5  # recorded epochs, before the train photos are learned and all gradients fall
_FLOOR = 1e-12  # where a logarithmic axis ends


def layer_figures(run: Run) -> tuple[Drawn, ...]:
    """gradients, weights, outputs and silenced, each where the run has what it shows."""
    by_layer: dict[str, list[LayerRow]] = {}
    for row in run.history.layers:
        by_layer.setdefault(row.layer, []).append(row)
    names = list(by_layer) if len(by_layer) <= MAX_LAYERS else [*list(by_layer)[:1], *list(by_layer)[1 - MAX_LAYERS :]]
    shown = {name: by_layer[name] for name in names}
    figures = []
    if len(shown) > 1:
        figures += [_gradients(shown), _distributions(shown, of="weight"), _distributions(shown, of="output")]
    if run.summary.silenced_units:
        figures.append(_silenced(run))
    return tuple(figures)


def _gradients(layers: dict[str, list[LayerRow]]) -> Drawn:
    figure = new_figure(4.8, 3.5, free=True)
    axes = figure.add_axes((0.17, 0.15, 0.8, 0.82))
    dress(axes)
    for i, rows in enumerate(layers.values()):
        norms = [max(row.gradient_norm, _FLOOR) for row in rows]
        axes.plot([row.epoch for row in rows], norms, color=colour_of(LIGHT.runs, i), linewidth=1.9)
    axes.set_yscale("log")
    axes.set_xlabel("epoch", fontsize=11)
    axes.set_ylabel("gradient norm", fontsize=11)
    smallest, share = _smallest_gradient(layers)
    says = (
        f"Norm of the cross-entropy's gradient for each Dense layer's kernel, on the same 16 train photos. In the "
        f"first recorded epochs the smallest hidden layer's, {smallest}, is {share:.2g} times the output layer's"
        + (": gradients vanish on the way to it, so it hardly learns." if share < VANISHING else ".")
    )
    return Drawn(
        "gradients",
        figure,
        "Gradients by layer",
        f"Gradient norm by epoch, one line per layer. {says}",
        says,
        _hover(axes, layers, lambda row: f"{row.gradient_norm:.2g}"),
        tuple(layers),
    )


def _smallest_gradient(layers: dict[str, list[LayerRow]]) -> tuple[str, float]:
    """The hidden layer with the smallest gradient in the first epochs, as a multiple of the output layer's."""
    early = {name: [math.log(max(row.gradient_norm, _FLOOR)) for row in rows[:EARLY]] for name, rows in layers.items()}
    *hidden, output = early
    smallest = min(hidden, key=lambda name: sum(early[name]))
    return smallest, math.exp((sum(early[smallest]) - sum(early[output])) / len(early[output]))


def _distributions(layers: dict[str, list[LayerRow]], *, of: str) -> Drawn:
    figure = new_figure(4.8, 1.2 + 1.15 * len(layers), free=True)
    bottom = 0.55 / figure.get_figheight()
    step = (0.98 - bottom) / len(layers)
    axes = None
    for i, rows in enumerate(layers.values()):
        axes = figure.add_axes((0.17, 0.98 - (i + 1) * step + 0.025, 0.8, step - 0.05), sharex=axes)
        dress(axes)
        epochs, colour = [row.epoch for row in rows], colour_of(LIGHT.runs, i)
        for low, high, alpha in ((5, 95, 0.2), (25, 75, 0.35)):
            lower, upper = ([getattr(row, f"{of}_p{p}") for row in rows] for p in (low, high))
            axes.fill_between(epochs, lower, upper, color=colour, alpha=alpha, linewidth=0)
        axes.plot(epochs, [getattr(row, f"{of}_p50") for row in rows], color=colour, linewidth=1.7)
        axes.tick_params(labelbottom=i == len(layers) - 1, labelsize=9)
    assert axes is not None  # there are layers
    axes.set_xlabel("epoch", fontsize=11)
    zeros = ", ".join(f"{name} {getattr(rows[-1], f'zero_{of}s'):.0%}" for name, rows in layers.items())
    what = "Weights" if of == "weight" else "Outputs"
    where = "" if of == "weight" else " after the activation"
    says = (
        f"{what} of each Dense layer{where}: median, and the middle 50 % and 90 % shaded. "
        f"Exactly zero at the last recorded epoch: {zeros}."
    )
    return Drawn(
        f"{of}s",
        figure,
        f"{what} by layer",
        f"{what} by epoch, one panel per layer. {says}",
        says,
        _hover(axes, layers, lambda row: f"{getattr(row, f'{of}_p50'):.3g}"),
        tuple(layers),
    )


def _silenced(run: Run) -> Drawn:
    from matplotlib.ticker import PercentFormatter

    found = run.summary.silenced_units
    figure = new_figure(4.8, 3.9, free=True)
    upper = figure.add_axes((0.17, 0.56, 0.8, 0.41))
    lower = figure.add_axes((0.17, 0.13, 0.8, 0.38), sharex=upper)
    at = [one.fraction for one in found]
    for axes, name, colour in ((upper, "accuracy", LIGHT.runs[1]), (lower, "loss", LIGHT.runs[0])):
        dress(axes)
        low, high = ([getattr(one, f"{name}_{end}") for one in found] for end in ("low", "high"))
        axes.fill_between(at, low, high, color=colour, alpha=0.25, linewidth=0)
        axes.plot(at, [getattr(one, name) for one in found], "o-", color=colour, linewidth=1.7, markersize=4)
        axes.set_ylabel(f"validation {name}", fontsize=10)
    upper.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    upper.tick_params(labelbottom=False)
    lower.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    lower.set_xlabel("hidden units set to zero", fontsize=11)
    half = min(found, key=lambda one: abs(one.fraction - 0.5))
    says = (
        f"Validation scores of the kept head with random hidden units set to zero, {found[-1].n_draws} draws each; "
        f"shaded: 95 % of the draws. Without {half.fraction:.0%} of the units the accuracy is {half.accuracy:.1%} "
        f"({half.accuracy_low:.1%} to {half.accuracy_high:.1%}), with all {found[0].accuracy:.1%}."
    )
    texts = [
        f"{one.fraction:.0%} silent: accuracy {one.accuracy:.1%} ({one.accuracy_low:.1%} to {one.accuracy_high:.1%}), "
        f"loss {one.loss:.3f} ({one.loss_low:.3f} to {one.loss_high:.3f})"
        for one in found
    ]
    return Drawn(
        "silenced",
        figure,
        "With silent hidden units",
        f"{says} {'. '.join(texts)}.",
        says,
        hover_over(upper, at, texts, down_to=lower),
    )


def _hover(axes: Axes, layers: dict[str, list[LayerRow]], shown: Callable[[LayerRow], str]) -> Hover:
    rows: Sequence[LayerRow] = next(iter(layers.values()))
    columns = {one_line(name, limit=30): [shown(row) for row in of] for name, of in layers.items()}
    lines = value_lines("{}", columns)
    texts = [f"Epoch {row.epoch}: {line.partition(': ')[2]}" for row, line in zip(rows, lines, strict=True)]
    return hover_over(axes, [row.epoch for row in rows], texts)
