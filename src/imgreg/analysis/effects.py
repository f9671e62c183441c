"""Did a recipe help? Paired differences over repeats, with intervals that own up to overlapping train photos.

In: one figure (a loss) a recipe and repeat. Out: an Effect a recipe, with its interval, its p-value and its word.
Must not know: where the figures come from, how they are shown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict
from scipy import stats

from imgreg.analysis.curves import CONFIDENCE

POWER = 0.80
MATTERS = 0.10  # a difference that matters, as a share of the control's own figure (imgreg's own choice)

Word = Literal["helped", "hurt", "no difference that matters", "not enough data"]


class Effect(BaseModel):
    """A recipe's figure less the control's, over the repeats: below 0 the recipe is better, the figure being a loss.

    Attributes
    ----------
    low, high : float
        The 95 % interval of the mean difference.
    p, p_holm : float
        Two-sided; p_holm is corrected for the number of recipes compared with the control.
    detectable : float
        The smallest true difference that so many repeats, as noisy as these, would find 4 times in 5.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    control: str
    n_repeats: int
    mean: float
    low: float
    high: float
    p: float
    p_holm: float
    detectable: float
    word: Word
    sentence: str


def paired_effects(
    figures: Mapping[str, Sequence[float]], *, n_train: float, n_test: float, what: str = "test loss"
) -> tuple[Effect, ...]:
    """Compare each recipe with the first, the control.

    The word follows from the interval. "helped" and "hurt": it excludes 0, also after Holm's correction. "no
    difference that matters": it lies within 10 % of the control's figure either way. Else "not enough data".

    Parameters
    ----------
    figures : mapping of str to (n_repeats,) float
        Recipe to one loss a repeat, in the same order of repeats for every recipe; two repeats or more.
    n_train, n_test : float
        Photos that a repeat trains on, and is scored on: the more is tested and the less trained on, the more the
        repeats have in common.

    Raises
    ------
    ValueError
        For fewer than two repeats, or a different number for some recipe.

    References
    ----------
    Nadeau & Bengio 2003, doi:10.1023/A:1024068626366 (the variance's factor 1/R + n_test/n_train); Bouckaert & Frank
    2004 for repeated folds; Holm 1979.
    """
    control, *others = figures
    base = np.asarray(figures[control], dtype=np.float64)
    differences = {name: np.asarray(figures[name], dtype=np.float64) - base for name in others}
    raw = {name: _interval(d, n_train=n_train, n_test=n_test) for name, d in differences.items()}
    corrected = dict(zip(others, holm([raw[name].p for name in others]), strict=True))
    matters = MATTERS * abs(float(base.mean()))
    return tuple(
        _effect(name, raw[name], control=control, p_holm=corrected[name], matters=matters, what=what) for name in others
    )


def corrected_interval(figures: Sequence[float], *, n_train: float, n_test: float) -> tuple[float, float, float]:
    """Mean of one figure a repeat, and the bounds of its 95 % interval, as wide as for `paired_effects`.

    >>> mean, low, high = corrected_interval([0.3, 0.4, 0.5], n_train=80, n_test=20)
    >>> f"{mean:.2f}, {low:.2f} to {high:.2f}"
    '0.40, 0.07 to 0.73'
    """
    found = _interval(np.asarray(figures, dtype=np.float64), n_train=n_train, n_test=n_test)
    return found.mean, found.low, found.high


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, step down.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [1.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def mcnemar(first_right: ArrayLike, second_right: ArrayLike) -> float:
    """Exact two-sided p-value that two classifiers, tested on the same photos, err equally often.

    Parameters
    ----------
    first_right, second_right : (n,) bool

    References
    ----------
    McNemar 1947; exact form: a binomial test on the photos that only one of them gets right.

    Examples
    --------
    >>> mcnemar([True] * 10, [False] * 6 + [True] * 4)
    0.03125
    """
    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second).pvalue)


@dataclass(frozen=True)
class _Interval:
    """Of a mean paired difference; p and the detectable difference as in Effect."""

    n_repeats: int
    mean: float
    low: float
    high: float
    p: float
    detectable: float


def _interval(differences: np.ndarray, *, n_train: float, n_test: float) -> _Interval:
    n = len(differences)
    if n < 2:
        raise ValueError(f"{n} repeat has no variance: expected 2 or more")
    mean = float(differences.mean())
    error = math.sqrt((1 / n + n_test / n_train) * float(differences.var(ddof=1)))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    detectable = half + float(stats.t.ppf(POWER, n - 1)) * error
    return _Interval(n, mean, mean - half, mean + half, p, detectable)


def _effect(name: str, one: _Interval, *, control: str, p_holm: float, matters: float, what: str) -> Effect:
    mean, bound = one.mean, max(abs(one.low), abs(one.high))
    found = f"(95 % interval {one.low:+.2f} to {one.high:+.2f}, {one.n_repeats} paired repeats)"
    word: Word
    if p_holm < 1 - CONFIDENCE:
        word = "helped" if mean < 0 else "hurt"
        sentence = f"{name} {'lowered' if mean < 0 else 'raised'} {what} by {abs(mean):.2f} {found}."
    elif bound <= matters:
        word = "no difference that matters"
        sentence = f"{name}: no difference in {what} greater than {bound:.2f} {found}."
    else:
        word = "not enough data"
        sentence = (
            f"{name}: not enough data to tell, {what} {mean:+.2f} {found}; this many repeats can detect a difference "
            f"of {one.detectable:.2f}."
        )
    return Effect(name=name, control=control, p_holm=p_holm, word=word, sentence=sentence, **asdict(one))
