"""effects.py: against SciPy, against the definition of closed testing, and against simulations whose truth is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from imgreg.analysis.effects import holm, mcnemar, paired_effects


def test_without_shared_photos_it_is_the_paired_t_test() -> None:
    """Where next to nothing is tested, the correction vanishes: interval and p are SciPy's ttest_rel's."""
    draw = np.random.default_rng(0)
    control, other = draw.normal(1, 0.2, 12), draw.normal(0.9, 0.2, 12)
    (effect,) = paired_effects({"plain": control, "l2": other}, n_train=1e12, n_test=1)
    expected = stats.ttest_rel(other, control)
    interval = expected.confidence_interval(0.95)
    assert effect.p == pytest.approx(expected.pvalue)
    assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high))


def test_the_correction_is_nadeau_and_bengios() -> None:
    """The standard error is sqrt(1/R + n_test/n_train) times the deviation, the t has R - 1 degrees."""
    d = np.array([-0.1, -0.2, 0.0, -0.15, -0.05])
    (effect,) = paired_effects({"plain": np.ones(5), "l2": 1 + d}, n_train=80, n_test=20)
    error = math.sqrt((1 / 5 + 20 / 80) * np.var(d, ddof=1))
    assert effect.mean == pytest.approx(-0.1)
    assert (effect.high - effect.low) / 2 == pytest.approx(stats.t.ppf(0.975, 4) * error)
    assert effect.p == pytest.approx(2 * stats.t.cdf(-0.1 / error, 4))


def test_holm_is_closed_testing_with_bonferroni() -> None:
    """A corrected p is the largest Bonferroni p among all sets of hypotheses that hold this one."""
    draw = np.random.default_rng(1)
    for n in range(1, 7):
        p = list(draw.uniform(0, 0.2, n))
        for i, corrected in enumerate(holm(p)):
            sets = [s for k in range(1, n + 1) for s in itertools.combinations(range(n), k) if i in s]
            assert corrected == pytest.approx(max(min(1, len(s) * min(p[j] for j in s)) for s in sets))


def test_mcnemar_is_the_binomial_sum() -> None:
    """Twice the tail of fair coin tosses over the photos that only one classifier gets right, 1 at most."""
    for b, c in [(0, 0), (3, 3), (1, 9), (12, 2)]:
        first = [True] * b + [False] * c + [True] * 5
        second = [False] * b + [True] * c + [True] * 5
        n, k = b + c, min(b, c)
        tail = 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n
        assert mcnemar(first, second) == pytest.approx(min(1, tail))


@pytest.mark.parametrize(
    ("differences", "word"),
    [
        ([-0.30, -0.28, -0.33, -0.29, -0.31, -0.30], "helped"),
        ([0.30, 0.28, 0.33, 0.29, 0.31, 0.30], "hurt"),
        ([0.002, -0.003, 0.001, 0.0, -0.001, 0.002], "no difference that matters"),
        ([0.3, -0.4, 0.1, 0.5, -0.2, -0.3], "not enough data"),
        ([0.0] * 6, "no difference that matters"),
    ],
)
def test_words_follow_from_the_interval(differences: list[float], word: str) -> None:
    """Planted differences to a control of about 1 get the word that their interval says."""
    control = np.array([1.0, 1.1, 0.9, 1.0, 1.05, 0.95])
    (effect,) = paired_effects({"plain": control, "x": control + differences}, n_train=80, n_test=20)
    assert effect.word == word
    assert ("excludes 0" if effect.low > 0 or effect.high < 0 else "holds 0") == (
        "excludes 0" if word in ("helped", "hurt") else "holds 0"
    )
    assert f"{effect.low:+.2f} to {effect.high:+.2f}" in effect.sentence


def test_many_recipes_make_a_word_dearer() -> None:
    """A difference that is clear alone is no longer called so beside 40 recipes that do nothing."""
    draw = np.random.default_rng(3)
    control = draw.normal(1, 0.1, 6)
    clear = control - 0.1 + 0.05 * np.array([1, -1, 1, -1, 1, -1])
    nothing = {f"r{i}": control + draw.normal(0, 0.1, 6) for i in range(40)}
    (alone,) = paired_effects({"plain": control, "x": clear}, n_train=1e9, n_test=1)
    among = {e.name: e for e in paired_effects({"plain": control, "x": clear, **nothing}, n_train=1e9, n_test=1)}
    assert alone.word == "helped"
    assert among["x"].word != "helped"
    assert (among["x"].low, among["x"].high) == (alone.low, alone.high)


def test_one_repeat_is_refused() -> None:
    """There is no spread to tell from."""
    with pytest.raises(ValueError, match="expected 2 or more"):
        paired_effects({"plain": [1.0], "x": [0.9]}, n_train=80, n_test=20)


class Simulation:
    """Comparisons of two linear learners on drawn data sets, resplit ten times each; the truth is known.

    A photo is 12 normal features and a noisy target; the learners are ridge regressions of different strength. The
    truth is the mean difference of their squared errors on endless new data, over train sets of the same size.
    """

    N, N_TRAIN, N_TEST, REPEATS = 60, 48, 12, 10

    def __init__(self, *, strengths: tuple[float, float], n_comparisons: int, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.weights = np.ones(12) / 4
        self.differences = np.array([self._one(draw, strengths) for _ in range(n_comparisons)])  # (n, repeats, 2)
        train = [self._data(draw, self.N_TRAIN) for _ in range(20_000)]
        errors = np.array([[self._risk(self._fit(x, y, s)) for s in strengths] for x, y in train])
        self.truth = float((errors[:, 1] - errors[:, 0]).mean())

    def _data(self, draw: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        x = draw.normal(0, 1, (n, 12))
        return x, x @ self.weights + draw.normal(0, 1, n)

    def _fit(self, x: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
        return np.linalg.solve(x.T @ x + strength * np.eye(12), x.T @ y)

    def _risk(self, weights: np.ndarray) -> float:
        return 1 + float(np.square(weights - self.weights).sum())

    def _one(self, draw: np.random.Generator, strengths: tuple[float, float]) -> np.ndarray:
        x, y = self._data(draw, self.N)
        rows = []
        for _ in range(self.REPEATS):
            order = draw.permutation(self.N)
            test, train = order[: self.N_TEST], order[self.N_TEST :]
            fits = [self._fit(x[train], y[train], s) for s in strengths]
            rows.append([float(np.square(y[test] - x[test] @ w).mean()) for w in fits])
        return np.array(rows)

    def effects(self) -> list:
        return [
            paired_effects({"a": one[:, 0], "b": one[:, 1]}, n_train=self.N_TRAIN, n_test=self.N_TEST)[0]
            for one in self.differences
        ]


def test_intervals_cover_and_are_not_needlessly_wide() -> None:
    """95 % intervals cover the truth in at least 93 % of 1,000 comparisons, at under twice the ideal width.

    The ideal is the interval of someone who knew the true spread of the estimate over data sets.
    """
    simulation = Simulation(strengths=(0.1, 25.0), n_comparisons=1000, seed=0)
    effects = simulation.effects()
    covered = np.mean([e.low <= simulation.truth <= e.high for e in effects])
    width = np.mean([e.high - e.low for e in effects])
    ideal = 2 * 1.96 * np.std([e.mean for e in effects])
    print(f"coverage {covered:.3f}, width {width / ideal:.2f} of the ideal")
    assert covered >= 0.93
    assert width < 2 * ideal


def test_no_effect_is_seldom_called_helped() -> None:
    """Two learners that are equally good: helped in at most 5 % of 1,000 comparisons, hurt as seldom."""
    draw = np.random.default_rng(7)
    words = []
    for _ in range(1000):
        shared = draw.normal(0, 1, 60)  # a photo's own difference, the same in every repeat that tests it
        control, other = [], []
        for _ in range(10):
            test = draw.permutation(60)[:12]
            base = draw.normal(1, 0.1)
            control.append(base)
            other.append(base + 0.2 * shared[test].mean() + draw.normal(0, 0.02))
        words.append(paired_effects({"a": control, "b": other}, n_train=48, n_test=12)[0].word)
    print({word: words.count(word) for word in set(words)})
    assert words.count("helped") <= 50
    assert words.count("hurt") <= 50


def test_detectable_is_found_four_times_in_five() -> None:
    """A true difference of the size that is called detectable is found in about 80 % of comparisons."""
    draw = np.random.default_rng(9)
    spread, n = 0.1, 10
    error = math.sqrt(1 / n) * spread
    size = (stats.t.ppf(0.975, n - 1) + stats.t.ppf(0.8, n - 1)) * error
    effects = [
        paired_effects({"a": np.ones(n), "b": 1 - size + draw.normal(0, spread, n)}, n_train=1e12, n_test=1)[0]
        for _ in range(1500)
    ]
    assert np.mean([e.word == "helped" for e in effects]) == pytest.approx(0.8, abs=0.04)
    assert np.mean([e.detectable for e in effects]) == pytest.approx(size, rel=0.1)
