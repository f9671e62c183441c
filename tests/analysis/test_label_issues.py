"""Labels ranked by heads that never saw the photo."""

from __future__ import annotations

import math

import numpy as np
import pytest

from imgreg.analysis.label_issues import label_issues_answer, rank_labels


def ranked(own: list[float], *, labels: list[int], trained: list[float] | None = None):
    p = np.array([[o, 1 - o] if label == 0 else [1 - o, o] for o, label in zip(own, labels, strict=True)])
    return rank_labels(
        p,
        np.array(labels),
        own_when_trained=np.array(trained or [0.9] * len(own)),
        forgotten=np.arange(len(own), dtype=float),
        classes=("ants", "bees"),
    )


def test_the_least_probable_label_comes_first() -> None:
    """Order, names and figures of each row."""
    table = ranked([0.9, 0.2, 0.6, 0.05], labels=[0, 0, 1, 1])
    assert [row.photo for row in table.rows] == [3, 1, 2, 0]
    first = table.rows[0]
    assert (first.label, first.other, first.own, first.others) == ("bees", "ants", 0.05, pytest.approx(0.95))
    assert first.memorization == pytest.approx(0.85)
    assert first.forgotten == 3


def test_contradicted_by_the_class_s_own_standard() -> None:
    """Bees get 0.6 in the mean: an ant at 0.6 bees is contradicted, one at 0.55 is not (confident learning)."""
    own = [0.9, 0.9, 0.4, 0.45, 0.6, 0.6]
    table = ranked(own, labels=[0, 0, 0, 0, 1, 1])
    words = {row.photo: row.word for row in table.rows}
    assert words == {2: "contradicted", 3: "doubtful", 0: "agrees", 1: "agrees", 4: "agrees", 5: "agrees"}
    assert table.n_contradicted == 1


def test_history_tells_the_memorized_from_the_learned() -> None:
    """A label given only after training on the photo is memorized; one not given even then never learned."""
    table = ranked([0.8, 0.1, 0.1, 0.1], labels=[0, 0, 1, 1], trained=[0.9, 0.9, 0.2, math.nan])
    found = {row.photo: row.history for row in table.rows}
    assert found == {0: "learned", 1: "memorized", 2: "never learned", 3: "not trained on"}
    assert next(row for row in table.rows if row.photo == 3).own_when_trained is None


def test_the_answer_counts() -> None:
    """The sentences hold the counts; without a contradiction the first one says so."""
    some, doubt, history = label_issues_answer(ranked([0.9, 0.9, 0.1, 0.9], labels=[0, 0, 0, 1]))
    assert some.startswith("Contradicted labels: 1 of 4 (25.0%)")
    assert doubt.startswith("Labels that differ from what those heads predict: 1.")
    assert history.startswith("History: memorized (predicted only by heads trained on the photo itself): 1;")
    assert label_issues_answer(ranked([0.9, 0.8], labels=[0, 1]))[0].startswith("None of the 2 labels is contradicted")
