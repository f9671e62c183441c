"""Which learning rates are worth trying? Read off the losses of several range tests.

In: losses by learning rate. Out: a range, or the reason why there is none. Must not know: how heads are trained.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from imgreg.heads.lr_find import smooth_losses

LEAST_FALL = 0.05  # of the first loss; less is no curve to read a rate off (imgreg's own choice)
_SKIPPED = 10  # first steps, in which the moving average settles, as in fastai
_WINDOW = 10  # steps over which a slope is taken, on either side
_LEAST_STEPS = _SKIPPED + 2 * _WINDOW


class LearningRateCurve(BaseModel):
    """Mean smoothed training loss of several sweeps, and what it suggests.

    Attributes
    ----------
    rates : tuple of float
        Learning rates that every sweep reached.
    losses : tuple of float
        Mean over the sweeps of the smoothed training loss at each, in nats.
    sweeps : tuple of tuple of float
        The smoothed losses of each sweep.
    steepest : float or None
        Rate at which the mean loss falls fastest; None, as all of the following, where it hardly falls.
    steepest_low, steepest_high : float or None
        Lowest and highest of the single sweeps' steepest rates.
    minimum : float or None
        Rate of the lowest mean loss.
    low, high : float or None
        The suggested range: from the steepest rate to the minimum's.
    """

    model_config = ConfigDict(frozen=True)

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    sweeps: tuple[tuple[float, ...], ...]
    steepest: float | None = None
    steepest_low: float | None = None
    steepest_high: float | None = None
    minimum: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def suggested(self) -> float | None:
        """One rate to begin with, one digit: the geometric middle of the range."""
        return None if self.low is None or self.high is None else float(f"{np.sqrt(self.low * self.high):.0e}")


def learning_rate_curve(rates: NDArray[np.floating], sweeps: Sequence[NDArray[np.floating]]) -> LearningRateCurve:
    """Average sweeps and find the range of useful rates.

    Parameters
    ----------
    rates : (n,) float
        Ascending, evenly spaced on a logarithmic scale.
    sweeps : sequence of (m,) float
        Training losses of each sweep; shorter than `rates` where it was stopped.

    References
    ----------
    Smith 2017, arXiv:1506.01186: from where the loss falls clearly to where it stops falling. fastai's lr_find
    (Howard & Gugger 2020, arXiv:2002.04688) suggests the steepest rate and a tenth of the minimum's.

    Examples
    --------
    >>> rates = np.geomspace(1e-6, 1, 121)
    >>> falling = 1 / (1 + (rates / 1e-3)) + rates  # falls around 1e-3, rises towards 1
    >>> curve = learning_rate_curve(rates, [falling])
    >>> f"{curve.low:.0e} to {curve.high:.0e}"
    '2e-03 to 9e-02'
    """
    smoothed = [smooth_losses(one) for one in sweeps]
    n_common = min(map(len, smoothed))
    mean = np.mean([one[:n_common] for one in smoothed], axis=0)
    curve = LearningRateCurve(
        rates=tuple(float(rate) for rate in rates[:n_common]),
        losses=tuple(map(float, mean)),
        sweeps=tuple(tuple(map(float, one)) for one in smoothed),
    )
    if n_common < _LEAST_STEPS or mean[0] - mean.min() < LEAST_FALL * mean[0]:
        return curve
    steepest = float(rates[_steepest(mean)])
    each = [float(rates[_steepest(one[:n_common])]) for one in smoothed]
    minimum = float(rates[mean.argmin()])
    found = {"steepest": steepest, "steepest_low": min(each), "steepest_high": max(each), "minimum": minimum}
    return curve.model_copy(update=found | {"low": steepest, "high": minimum})


def learning_rate_answer(curve: LearningRateCurve, *, current: float, command: str) -> tuple[str, ...]:
    """What the curve says, in sentences.

    Parameters
    ----------
    current : float
        The recipe's own learning rate.
    command : str
        The training command, to which the suggested rate is added.
    """
    if curve.low is None or curve.high is None or curve.suggested is None:
        return (
            "No learning rate can be suggested: the training loss hardly falls at any rate "
            f"({curve.losses[0]:.2f} at the lowest rate, {min(curve.losses):.2f} at best). More steps or a smaller "
            "batch size may help.",
        )
    where = _where(current, curve.low, curve.high)
    first = f"Try learning rates from {curve.low:.1e} to {curve.high:.1e}; begin with {curve.suggested:g}."
    reason = (
        f"The training loss falls fastest at {curve.steepest:.1e} (single sweeps: {curve.steepest_low:.1e} to "
        f"{curve.steepest_high:.1e}) and is lowest at {curve.minimum:.1e}; beyond that it is unstable."
    )
    own = f"The recipe's own rate, {current:g}, lies {where} this range."
    follow = "" if where == "inside" else f" Compare: `{command} --learning-rate {curve.suggested:g}`."
    return first, reason, own + follow


class TriedRates(BaseModel):
    """The learning rates of a study beside the range that a range test of its control suggests.

    Attributes
    ----------
    tried : dict of str to float
        Recipe to its rate, of those with the control's optimizer; the control first.
    """

    model_config = ConfigDict(frozen=True)

    curve: LearningRateCurve
    tried: dict[str, float]

    @property
    def labels(self) -> dict[str, float]:
        """Label to learning rate, in ascending order; a label names the recipes.

        >>> TriedRates(curve=LearningRateCurve(rates=(), losses=(), sweeps=()), tried={"plain": 1e-3, "cosine": 1e-3,
        ...     "rate 1e-4": 1e-4}).labels
        {'0.0001 (rate 1e-4)': 0.0001, '0.001 (plain and 1 more)': 0.001}
        """
        found = {}
        for rate in sorted(set(self.tried.values())):
            first, *others = [recipe for recipe, own in self.tried.items() if own == rate]
            found[f"{rate:g} ({first}{f' and {len(others)} more' if others else ''})"] = rate
        return found

    @property
    def sentence(self) -> str:
        """The range, and where the tried rates lie."""
        curve, control = self.curve, next(iter(self.tried))
        if curve.low is None or curve.high is None or curve.suggested is None:
            return f"A range test of {control} suggests no learning rate: its training loss hardly falls at any."
        lie = [f"{label}, {_where(rate, curve.low, curve.high)} that range" for label, rate in self.labels.items()]
        return (
            f"A range test of {control} suggests learning rates from {curve.low:.1e} to {curve.high:.1e}, "
            f"starting with {curve.suggested:g}. Rates tried: {'; '.join(lie)}."
        )


def _where(rate: float, low: float, high: float) -> str:
    return "inside" if low <= rate <= high else "below" if rate < low else "above"


def _steepest(losses: NDArray[np.floating]) -> int:
    """Index of the fastest fall before the minimum: the mean of the next steps less that of the steps before."""
    means = np.convolve(losses, np.full(_WINDOW, 1 / _WINDOW), mode="valid")
    falls = means[_WINDOW:] - means[:-_WINDOW]  # falls[i] is around losses[i + _WINDOW]
    last = max(int(losses.argmin()) - _WINDOW, _SKIPPED + 1)
    return _WINDOW + _SKIPPED + int(falls[_SKIPPED:last].argmin())
