"""Grad-CAM: the map is what its definition says, for any pool and head, and depends on what the head has learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from imgreg.config import Head
from imgreg.features.backbone import feature_shape, preprocessed
from imgreg.features.weights import resolve_weights
from imgreg.heads import explain as explaining
from imgreg.heads.build import build_head, weights_by_name
from imgreg.heads.explain import explain
from imgreg.heads.forward import probabilities
from imgreg.heads.network import Network
from imgreg.heads.plan import plan_head

SIZE = 64


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    draw = np.random.default_rng(3)
    waves = 60 * np.sin(np.arange(SIZE) / 3)[None, :, None] + draw.normal(0, 40, (SIZE, SIZE, 3))
    return (128 + waves).clip(0, 255).astype(np.uint8)


def trained(head: Head, *, seed: int):
    """A head with weights that no layer starts with, so that each of them matters."""
    model = build_head(head, feature_shape=feature_shape(SIZE), n_classes=3, seed=seed)
    draw = np.random.default_rng(seed)
    weights = weights_by_name(model)
    for name, array in weights.items():
        if not name.endswith("kernel"):
            weights[name] = (array + draw.uniform(0.1, 0.5, array.shape)).astype(np.float32)
    return plan_head(head, n_classes=3), weights


STEP = 1e-2


def slopes(up: np.ndarray, down: np.ndarray, k: int, *, plan, weights) -> np.ndarray:
    """How class k's score changes over 2 STEP, from maps to maps, (n, h, w, c): NumPy's forward pass, no gradient."""
    scores = []
    for maps in (up, down):
        n, h, w, c = maps.shape
        pooled = maps.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
        scores.append(probabilities(pooled, plan=plan[:-1], weights=weights)[:, k].astype(np.float64))
    return (scores[0] - scores[1]) / (2 * STEP)


def last_maps(photo: np.ndarray) -> np.ndarray:
    below, _ = explaining._cut(resolve_weights("starter"))
    return np.asarray(below(preprocessed(photo[None])))


def explained(photo: np.ndarray, plan, weights, **options):
    return next(explain([photo], None, network=Network(resolve_weights("starter"), plan, [weights]), **options))


@pytest.mark.parametrize(
    "head",
    [
        Head(pool="flatten", units=(8,), activation="tanh", dropout=0.5, normalization="after_dropout"),
        Head(
            pool="avg", units=(8, 4), activation="gelu", normalization="before_activation", normalization_kind="layer"
        ),
        Head(pool="max", units=(), scaling="standardize"),
        Head(pool="flatten+max", units=(8,), activation="tanh", normalization="before_activation"),
    ],
    ids=["flatten", "avg", "max", "flatten+max"],
)
def test_the_map_is_grad_cams(photo, head) -> None:
    """ReLU of the last convolution's maps, weighed by the mean gradient of the class's score before softmax: a channel
    raised everywhere changes the score by the sum of its gradients."""
    plan, weights = trained(head, seed=1)
    found, maps = explained(photo, plan, weights, n_random=0), last_maps(photo)
    shift = STEP * np.eye(maps.shape[-1], dtype=np.float32)[:, None, None, :]
    slope = slopes(maps + shift, maps - shift, found.explained, plan=plan, weights=weights)
    expected = np.maximum((maps[0] * slope / maps[0, :, :, 0].size).sum(axis=-1), 0)
    assert found.map.shape == (SIZE // 16, SIZE // 16)
    assert expected.max() > 0
    assert found.map == pytest.approx(expected, abs=0.03 * float(expected.max()))


def test_an_instance_normalized_map_is_explained_place_by_place(photo) -> None:
    """There a channel that is raised everywhere changes nothing, and Grad-CAM would show noise; a place's own gradient
    is how the score changes when the place's maps grow."""
    head = Head(pool="flatten", units=(6,), activation="tanh", map_normalization="instance")
    plan, weights = trained(head, seed=1)
    found, maps = explained(photo, plan, weights, n_random=0), last_maps(photo)
    places = np.eye(maps[0, :, :, 0].size, dtype=np.float32).reshape(-1, *maps.shape[1:3], 1)
    slope = slopes(maps * (1 + STEP * places), maps * (1 - STEP * places), found.explained, plan=plan, weights=weights)
    expected = np.maximum(slope, 0).reshape(maps.shape[1:3])
    assert expected.max() > 1e-4
    assert found.map == pytest.approx(expected, abs=0.1 * float(expected.max()))


def test_the_answer_is_explained_where_no_class_is_named(photo) -> None:
    """Its probabilities are those of the head on the base's pooled maps."""
    plan, weights = trained(Head(units=(8,)), seed=2)
    found = explained(photo, plan, weights, n_random=0)
    assert found.explained == int(found.probabilities.argmax())
    assert found.probabilities.sum() == pytest.approx(1, abs=1e-5)
    others = [(found.explained + 1) % 3]
    (other,) = explain([photo], others, network=Network(resolve_weights("starter"), plan, [weights]), n_random=0)
    assert (other.explained, found.map.max() > 0) == (others[0], True)
    assert not np.allclose(other.map, found.map)


def test_several_heads_are_explained_by_the_mean_of_their_maps(photo) -> None:
    """So are their probabilities; where a photo asks one head, both are that head's."""
    plan, one = trained(Head(units=(8,)), seed=5)
    _, two = trained(Head(units=(8,)), seed=6)
    both = Network(resolve_weights("starter"), plan, [one, two])
    together, first, second = explain([photo] * 3, [0, 0, 0], network=both, asked=[None, 0, 1], n_random=0)
    assert not np.allclose(first.map, second.map)
    np.testing.assert_allclose(together.map, (first.map + second.map) / 2, rtol=1e-5)
    np.testing.assert_allclose(together.probabilities, (first.probabilities + second.probabilities) / 2, rtol=1e-5)
    (alone,) = explain([photo], [0], network=replace(both, heads=[two]), n_random=0)
    np.testing.assert_array_equal(second.map, alone.map)
    (unasked,) = explain([photo], [0], network=both, n_random=0)
    np.testing.assert_array_equal(unasked.map, together.map)


def test_random_heads_give_other_maps(photo) -> None:
    """The sanity check: each head of other weights has a map of its own, and the likeness says so."""
    plan, weights = trained(Head(units=(8,)), seed=3)
    found = explained(photo, plan, weights, n_random=3)
    assert found.map.max() > 0
    assert found.random_maps.shape == (3, 4, 4)
    assert all(not np.allclose(found.map, other) for other in found.random_maps)
    assert -1 <= found.likeness < 0.9


def test_a_head_that_learned_nothing_has_an_empty_map(photo) -> None:
    """Zero weights: no place speaks for any class, and there is no likeness to tell."""
    plan, weights = trained(Head(units=(4,)), seed=4)
    zeros = {name: np.zeros_like(array) for name, array in weights.items()}
    found = explained(photo, plan, zeros, n_random=1)
    assert found.map.max() == 0
    assert np.isnan(found.likeness)
