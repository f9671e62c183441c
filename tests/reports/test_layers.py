"""Figures of a head's layers: what was recorded is drawn and described."""

from __future__ import annotations

from dataclasses import replace

from imgreg.reports.layers import layer_figures
from imgreg.runs.layers import LayerRow
from imgreg.runs.summary import SilencedUnits


def rows(*, first: float) -> tuple[LayerRow, ...]:
    zero = dict.fromkeys(list(LayerRow.__dataclass_fields__)[3:], 0.0)
    zero |= {"zero_weights": 0.25, "zero_outputs": 0.5}
    norms = {"hidden_1": first, "hidden_2": 0.2, "classes": 1.0}
    return tuple(
        LayerRow(epoch=epoch, layer=name, gradient_norm=norm, **zero)
        for epoch in (1, 2, 5)
        for name, norm in norms.items()
    )


def test_vanishing_gradients_are_told(make_run, healthy) -> None:
    """Where a hidden layer's gradient is under a tenth of the output layer's, and only there."""
    for first, told in ((0.05, True), (0.15, False)):
        figures = {one.stem: one for one in layer_figures(make_run(replace(healthy, layers=rows(first=first))))}
        assert list(figures) == ["gradients", "weights", "outputs"]
        caption = figures["gradients"].caption
        assert ("gradients vanish" in caption) == told
        assert f"the smallest hidden layer's, hidden_1, is {first:.2g} times the output layer's" in caption
        drawn = [line.get_ydata()[0] for line in figures["gradients"].figure.axes[0].lines]
        assert drawn == [first, 0.2, 1.0]
        assert figures["gradients"].hover.texts[2].startswith("Epoch 5: hidden_1 ")
        assert "hidden_1 25%" in figures["weights"].caption
        assert "classes 50%" in figures["outputs"].caption
        assert len(figures["outputs"].figure.axes) == 3


def test_the_distributions_of_weights_and_outputs_are_drawn(make_run, healthy) -> None:
    """A panel for each layer: the median as a line, the middle halves and the middle 90 % shaded, by epoch."""
    spread = {"weight_p5": -2.0, "weight_p50": 0.25, "weight_p95": 3.0, "output_p5": 0.5, "output_p50": 1.5}
    found = tuple(replace(row, **spread, output_p95=float(row.epoch)) for row in rows(first=0.2))
    figures = {one.stem: one.figure for one in layer_figures(make_run(replace(healthy, layers=found)))}
    for name, median, low, high in (("weights", 0.25, -2, 3), ("outputs", 1.5, 0.5, 5)):
        assert len(figures[name].axes) == 3
        for axes in figures[name].axes:
            (line,) = axes.lines
            assert (list(line.get_xdata()), set(line.get_ydata())) == ([1, 2, 5], {median})
            drawn = axes.collections[0].get_paths()[0].vertices[:, 1]
            assert (drawn.min(), drawn.max()) == (low, high)


def test_gradients_of_a_learned_head_do_not_count(make_run, healthy) -> None:
    """Later epochs, when all gradients are small, do not change the sentence."""
    early = rows(first=0.5)
    late = tuple(
        replace(row, epoch=10 + n, gradient_norm=1e-9 if row.layer == "hidden_1" else row.gradient_norm)
        for n in range(4)
        for row in early[:3]
    )
    five = (*early, *(replace(row, epoch=6) for row in early[:3]), *(replace(row, epoch=7) for row in early[:3]))
    figure = layer_figures(make_run(replace(healthy, layers=five + late)))[0]
    assert "hidden_2, is 0.2 times the output layer's." in figure.caption


def test_silent_units_are_drawn(make_run, healthy) -> None:
    """Accuracy and loss by fraction, with their intervals in the words; nothing in a run without them."""
    run = make_run(healthy)
    assert layer_figures(run) == ()
    found = tuple(
        SilencedUnits(
            fraction=f / 10,
            n_draws=20,
            loss=0.3 + f / 10,
            loss_low=0.2,
            loss_high=1.4,
            accuracy=0.9 - f / 30,
            accuracy_low=0.5,
            accuracy_high=0.95,
        )
        for f in range(10)
    )
    object.__setattr__(run, "summary", run.summary.model_copy(update={"silenced_units": found}))
    (figure,) = layer_figures(run)
    assert list(figure.figure.axes[0].lines[0].get_ydata()) == [one.accuracy for one in found]
    assert "Without 50% of the units the accuracy is 73.3% (50.0% to 95.0%), with all 90.0%" in figure.caption
