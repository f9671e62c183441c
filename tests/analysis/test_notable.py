"""Which photos a report shows, and why those."""

from __future__ import annotations

import numpy as np

from imgreg.analysis.notable import least_certain, most_memorized, worst_mistakes


def test_only_mistakes_are_mistakes() -> None:
    """A right answer is never among them, however unsure; equals keep their order, and the limit holds."""
    p = np.array([[0.51, 0.49], [0.1, 0.9], [0.3, 0.7], [0.1, 0.9]])
    assert worst_mistakes([0, 0, 0, 0], p, limit=10).tolist() == [1, 3, 2]
    assert worst_mistakes([0, 0, 0, 0], p, limit=1).tolist() == [1]


def test_certainty_is_the_margin_between_the_two_likeliest() -> None:
    """Of three classes the third does not count: 0.4 against 0.35 is less certain than 0.34 against 0.28."""
    p = np.array([[0.4, 0.35, 0.25], [0.34, 0.28, 0.38], [0.05, 0.05, 0.9]])
    assert least_certain(p, limit=3).tolist() == [1, 0, 2]


def test_memorized_photos_were_wrong_at_the_best_epoch_and_are_right_at_the_end() -> None:
    """One that was right before, one that is still wrong, and one that was lost are not learned by heart."""
    own = np.array([[0.2, 0.6, 0.1, 0.9, 0.4], [0.3, 0.7, 0.2, 0.8, 0.3], [0.99, 0.99, 0.4, 0.2, 0.6]], np.float32)
    assert most_memorized(own, best=1, limit=5).tolist() == [0, 4]
    assert most_memorized(None, best=1, limit=5).tolist() == []
