"""What would more photos bring? A power law through the score against the number of train photos, with its interval.

In: one score a repeat and size. Out: the curve, and what it promises beyond. Must not know: how scores came about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from imgreg.analysis.curves import CONFIDENCE

N_RESAMPLES = 1000
_TAILS = (50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE))  # percentiles

Float64Array = NDArray[np.float64]


class PowerLaw(BaseModel):
    """score(n) = floor + scale * n ** -exponent, the score being a loss or an error rate."""

    model_config = ConfigDict(frozen=True)

    floor: float
    scale: float
    exponent: float

    def at(self, n_train: float) -> float:
        return self.floor + self.scale * math.pow(n_train, -self.exponent)


class Forecast(BaseModel):
    """What the curve says of one number of train photos, with its 95 % interval.

    Attributes
    ----------
    gain : float
        Score at all of today's train photos less score here: above 0, more photos help.
    """

    model_config = ConfigDict(frozen=True)

    n_train: int
    score: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float


class LearningCurve(BaseModel):
    """The score by the number of train photos.

    Attributes
    ----------
    sizes, means : tuple of int, tuple of float
        As measured, the means over the repeats; the last size is all train photos.
    lows, highs : tuple of float
        95 % interval of each mean.
    law : PowerLaw
        The power law through the means.
    fitted : tuple of Forecast
        Forecasts along the curve, for drawing.
    more : Forecast
        The Forecast for the number of photos in question.
    """

    model_config = ConfigDict(frozen=True)

    what: str
    n_repeats: int
    n_test: float
    sizes: tuple[int, ...]
    means: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    law: PowerLaw
    fitted: tuple[Forecast, ...]
    more: Forecast


def learning_curve(
    scores: Sequence[Sequence[float]],
    *,
    sizes: Sequence[int],
    n_test: float,
    more: int,
    what: str,
    highest: float = math.inf,
) -> LearningCurve:
    """Fit score(n) = floor + scale * n ** -exponent, and say what `more` train photos would bring.

    The interval is a bootstrap over the repeats, refitted each time; deviations are stretched as repeats share photos
    (Nadeau & Bengio's factor, see effects.py). It assumes that this law holds, which is uncertain beyond twice today's
    photos. Its ends are clipped to the score's range, which does not change how often it covers the true value.

    Parameters
    ----------
    scores : (n_repeats, n_sizes) float
        A loss or error rate of each repeat and size.
    sizes : (n_sizes,) int
        Train photos, ascending; three or more different ones.
    n_test : float
        Photos that each score was taken on.
    highest : float
        The highest that the score can be, 1 for an error rate; the lowest is 0.

    Raises
    ------
    ValueError
        For fewer than two repeats or three sizes.

    References
    ----------
    Hestness et al. 2017, arXiv:1712.00409 and Rosenfeld et al. 2020, arXiv:1909.12673 (error falls by a power law to a
    floor); Viering & Loog 2023, doi:10.1109/TPAMI.2022.3220744 (how well that holds).
    """
    table, n = np.asarray(scores, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    if len(table) < 2 or len(set(sizes)) < 3:
        raise ValueError(f"{len(table)} repeats of {len(set(sizes))} sizes: expected 2 or more of 3 or more")
    means, drawn_means = table.mean(axis=0), _resampled_means(table, n_train=n[-1], n_test=n_test)
    spread = table.std(axis=0, ddof=1)
    weights = 1 / np.maximum(spread, 0.25 * np.median(spread) + 1e-9)  # a spread that is small by luck does not rule
    laws = fit_power_laws(n, np.concatenate([means[None], drawn_means]), weights=weights)
    forecasts = _forecasts(laws, sizes=n, more=more, highest=highest)
    mean_lows, mean_highs = np.percentile(np.clip(drawn_means, 0, highest), _TAILS, axis=0)
    return LearningCurve(
        what=what,
        n_repeats=len(table),
        n_test=n_test,
        sizes=tuple(int(x) for x in n),
        means=tuple(means.tolist()),
        lows=tuple(mean_lows.tolist()),
        highs=tuple(mean_highs.tolist()),
        law=_power_law(laws[0]),
        fitted=forecasts,
        more=forecasts[-1],
    )


def _resampled_means(table: Float64Array, *, n_train: float, n_test: float) -> Float64Array:
    """(N_RESAMPLES, n_sizes) means of repeats drawn with replacement, stretched for what the repeats share."""
    n_repeats, means = len(table), table.mean(axis=0)
    stretch = math.sqrt(1 + n_repeats * n_test / n_train) * _small_sample(n_repeats)
    rows = np.random.default_rng(0).integers(n_repeats, size=(N_RESAMPLES, n_repeats))
    return np.asarray(means + stretch * (table[rows].mean(axis=1) - means))


def _forecasts(laws: Float64Array, *, sizes: Float64Array, more: int, highest: float) -> tuple[Forecast, ...]:
    """Along the curve, up to `more` photos beyond today's.

    laws   (1 + N_RESAMPLES, 3), that of the means first
    """
    law, n_today = _power_law(laws[0]), sizes[-1]
    grid = np.unique(np.round(np.geomspace(sizes[0], n_today + more, 40)).astype(int))
    grid = np.union1d(grid, [int(n_today), int(n_today) + more])
    floors, scales, exponents = laws[1:].T[..., None]
    found = np.clip(floors + scales * grid**-exponents, 0, highest)
    gains = found[:, [int(np.searchsorted(grid, n_today))]] - found
    lows, highs = np.percentile(found, _TAILS, axis=0)
    gain_lows, gain_highs = np.percentile(gains, _TAILS, axis=0)
    return tuple(
        Forecast(
            n_train=int(x),
            score=law.at(x),
            low=float(lows[i]),
            high=float(highs[i]),
            gain=law.at(n_today) - law.at(x),
            gain_low=float(gain_lows[i]),
            gain_high=float(gain_highs[i]),
        )
        for i, x in enumerate(grid)
    )


def _power_law(row: Float64Array) -> PowerLaw:
    return PowerLaw(floor=row[0], scale=row[1], exponent=row[2])


def fit_power_laws(sizes: Float64Array, scores: Float64Array, *, weights: Float64Array) -> Float64Array:
    """The least-squares power law of each row, falling to a floor of 0 or more: scale >= 0, 0.05 <= exponent <= 2.

    For a given exponent floor and scale are linear, so the exponents are tried one after the other (4 % apart): there
    is no start that could mislead.

    Parameters
    ----------
    sizes, weights : (n_sizes,)
        A deviation counts times its weight.
    scores : (n_rows, n_sizes)

    Returns
    -------
    (n_rows, 3)
        Floor, scale, exponent.

    Examples
    --------
    >>> sizes = np.array([25.0, 50, 100, 200, 400])
    >>> fit_power_laws(sizes, 0.1 + 3 * sizes[None] ** -0.7, weights=np.ones(5)).round(1).tolist()
    [[0.1, 3.0, 0.7]]
    """
    of = np.square(weights)
    exponents = np.geomspace(0.05, 2.0, 96)
    x = (sizes / sizes[0]) ** -exponents[:, None]  # (n_exponents, n_sizes)
    sum_w, sum_x, sum_xx = of.sum(), x @ of, np.square(x) @ of
    sum_y, sum_xy = (scores @ of)[:, None], (scores * of) @ x.T  # (n_rows, 1 or n_exponents)
    determinant = sum_w * sum_xx - sum_x**2
    scale = (sum_w * sum_xy - sum_x * sum_y) / determinant
    floor = (sum_y - scale * sum_x) / sum_w
    scale = np.where(floor < 0, sum_xy / sum_xx, scale)
    floor = np.maximum(floor, 0)
    floor, scale = np.where(scale < 0, sum_y / sum_w, floor), np.maximum(scale, 0)
    off = scores[:, None] - floor[..., None] - scale[..., None] * x
    best = (np.square(off) @ of).argmin(axis=1)
    rows = np.arange(len(scores))
    return np.stack([floor[rows, best], scale[rows, best] * sizes[0] ** exponents[best], exponents[best]], axis=1)


def _small_sample(n_repeats: int) -> float:
    """What the bootstrap of few repeats lacks: the tails of t beyond the normal's, and n - 1 for n."""
    from scipy.special import ndtri, stdtrit

    tail = (1 + CONFIDENCE) / 2
    return float(stdtrit(n_repeats - 1, tail) / ndtri(tail)) * math.sqrt(n_repeats / (n_repeats - 1))


def decision(error: LearningCurve) -> Literal["helps", "hardly helps", "undecided"]:
    """Whether more photos clearly raise the accuracy by half a point or more, or clearly by less than a point."""
    if error.more.gain_low > 0.005:
        return "helps"
    return "hardly helps" if error.more.gain_high < 0.01 else "undecided"


def learning_curve_answer(error: LearningCurve, loss: LearningCurve) -> tuple[str, ...]:
    """The curves in a few sentences: what was measured, what more photos promise, and how sure that is."""
    today, more = error.sizes[-1], error.more
    added = more.n_train - today
    found = decision(error)
    claim = {
        "helps": "More photos would clearly help",
        "hardly helps": "More photos of the same kind would hardly help",
        "undecided": "Too uncertain to decide",
    }[found]
    measured = (
        f"{claim}: accuracy is {1 - error.means[-1]:.1%} with {today} train photos, and {added} more would change it "
        f"by about {_points(more.gain)} points (95 % interval {_points(more.gain_low)} to {_points(more.gain_high)})"
    )
    repeats = 10 if error.n_repeats < 10 else 2 * error.n_repeats
    advice = {
        "helps": ".",
        "hardly helps": "; different photos or another recipe might.",
        "undecided": f"; add --repeats {repeats}.",
    }[found]
    return (
        measured + advice,
        f"Test loss is {loss.means[-1]:.2f} now; {added} more would change it by about {_nats(-loss.more.gain)} (95 % "
        f"interval {_nats(-loss.more.gain_high)} to {_nats(-loss.more.gain_low)}).",
        "Accuracy and loss now are measured; what more photos bring is extrapolated with a power law, for photos like "
        "yours.",
    )


def _points(gain: float) -> str:
    """
    >>> _points(0.0234), _points(-0.0004)
    ('+2.3', '0.0')
    """
    text = f"{100 * gain:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def _nats(change: float) -> str:
    text = f"{change:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text
