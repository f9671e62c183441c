"""A power law through scores: exact where they lie on one, and honest about noise."""

from __future__ import annotations

import numpy as np
import pytest

from imgreg.analysis.learning_curve import LearningCurve, fit_power_laws, learning_curve, learning_curve_answer

SIZES = (16, 32, 64, 128, 256)


def curve(scores: np.ndarray, *, more: int = 200, n_test: float = 80) -> LearningCurve:
    return learning_curve(scores.tolist(), sizes=SIZES, n_test=n_test, more=more, what="test error")


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.1, 2.0, 0.5), (0.0, 1.0, 0.3), (0.3, 5.0, 1.2)])
def test_agrees_with_scipy_s_curve_fit(floor: float, scale: float, exponent: float) -> None:
    """On noisy means the law's scores are those of SciPy's own least squares, to a thousandth."""
    from scipy.optimize import curve_fit

    sizes = np.array(SIZES, float)
    scores = floor + scale * sizes**-exponent + np.random.default_rng(0).normal(0, 0.002, len(sizes))
    ((f, s, e),) = fit_power_laws(sizes, scores[None], weights=np.ones(len(sizes)))
    best, _ = curve_fit(
        lambda n, f, s, e: f + s * n**-e,
        sizes,
        scores,
        p0=(floor + 0.01, scale, exponent),
        bounds=([0, 0, 0.05], [1, 50, 2]),
    )
    theirs = best[0] + best[1] * sizes ** -best[2]
    np.testing.assert_allclose(f + s * sizes**-e, theirs, atol=1e-3)


def test_a_score_that_rises_is_flat() -> None:
    """More photos never hurt by the law: the best fit to a rising error is its mean."""
    ((floor, scale, _),) = fit_power_laws(np.array(SIZES, float), np.linspace(0.2, 0.3, 5)[None], weights=np.ones(5))
    assert (floor, scale) == (pytest.approx(0.25), 0)


def test_intervals_cover_the_truth() -> None:
    """In 200 simulated sets, whose repeats share noise as overlapping splits do, the 95 % interval of the score 200
    photos on covers the truth at least 180 times, and is no wider than a third of the distance to be guessed."""
    covered, widths = 0, []
    for seed in range(200):
        draw = np.random.default_rng(seed)
        floor, exponent = draw.uniform(0.05, 0.2), draw.uniform(0.3, 0.9)

        def truth(n: float, floor: float = floor, exponent: float = exponent) -> float:
            return floor + 0.3 * (n / 16) ** -exponent

        spread = 0.03 * (256 / np.array(SIZES)) ** 0.25
        shared = np.sqrt(0.2) * draw.normal(size=5)
        scores = [truth(n) for n in SIZES] + spread * (shared + np.sqrt(0.8) * draw.normal(size=(5, 5)))
        more = curve(scores).more
        covered += more.low <= truth(456) <= more.high
        widths.append(more.high - more.low)
    assert covered >= 180
    assert np.median(widths) < 0.12


def test_the_last_size_is_today() -> None:
    """The forecast at all of today's photos promises no gain; the one asked for comes last."""
    scores = 0.1 + np.array(SIZES) ** -0.5 + np.random.default_rng(0).normal(0, 0.003, (5, 5))
    found = curve(scores, more=100)
    today = next(point for point in found.fitted if point.n_train == 256)
    assert (today.gain, today.gain_low, today.gain_high) == (0, 0, 0)
    assert found.more == found.fitted[-1]
    assert found.more.n_train == 356
    assert found.more.gain == pytest.approx(found.law.at(256) - found.law.at(356))


def test_the_answer_follows_the_interval() -> None:
    """A clear gain is called clear, next to none is called so, and else nothing is claimed."""
    draw = np.random.default_rng(0)
    steep = 3 * np.array(SIZES) ** -0.6 / 4 + draw.normal(0, 0.002, (5, 5))
    flat = 0.2 + draw.normal(0, 0.001, (5, 5))
    noisy = 0.2 + 0.3 * np.array(SIZES) ** -0.5 + draw.normal(0, 0.05, (5, 5))
    said = [learning_curve_answer(curve(scores), curve(scores))[0] for scores in (steep, flat, noisy)]
    assert said[0].startswith("More photos would clearly help")
    assert "would hardly help" in said[1]
    assert said[2].startswith("Too uncertain to decide: accuracy is ")
    assert said[2].endswith("; add --repeats 10.")


def test_accuracy_now_is_the_one_that_was_measured() -> None:
    """The answer gives the mean of the largest size, as the table does, where the fitted curve passes beside it."""
    scores = np.tile([0.4, 0.3, 0.2, 0.15, 0.25], (5, 1)) + np.random.default_rng(0).normal(0, 0.01, (5, 5))
    found = curve(scores)
    measured = f"accuracy is {1 - found.means[-1]:.1%} with 256 train photos"
    assert f"{found.law.at(256):.3f}" != f"{found.means[-1]:.3f}"
    assert measured in learning_curve_answer(found, found)[0]


def test_intervals_of_an_error_rate_stay_within_0_and_1() -> None:
    """Three repeats that disagree: no interval of an error rate, nor of its gain, leaves what an error rate can be."""
    scores = np.random.default_rng(0).uniform(0.2, 0.8, (3, 5))
    free, found = (
        learning_curve(scores.tolist(), sizes=SIZES, n_test=80, more=200, what="test error", highest=highest)
        for highest in (np.inf, 1.0)
    )
    assert max(free.highs) > 1  # so that there is something to clip
    assert min(found.lows) >= 0
    assert max(found.highs) <= 1
    for point in found.fitted:
        assert 0 <= point.low <= point.high <= 1
        assert -1 <= point.gain_low <= point.gain_high <= 1


@pytest.mark.parametrize("scores", [[[0.3, 0.2, 0.1, 0.1, 0.1]]])
def test_one_repeat_is_refused(scores: list[list[float]]) -> None:
    """One repeat shows no spread."""
    with pytest.raises(ValueError, match="expected 2 or more"):
        learning_curve(scores, sizes=SIZES, n_test=80, more=1, what="test error")
