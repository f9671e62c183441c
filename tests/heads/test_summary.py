"""A head's layers in a table: what Keras' own model counts."""

from __future__ import annotations

import pytest

from imgreg.config import Head
from imgreg.heads.build import build_plan
from imgreg.heads.plan import plan_head
from imgreg.heads.summary import count_trainable, summarize_head, summarize_plan, summary_lines
from imgreg.recipes import load_recipe, recipe_names

ODD_HEADS = (
    Head(units=(), pool="avg"),
    Head(units=(8, 8), pool="max", map_normalization="instance", scaling="standardize", dropout=(0.1, 0.5)),
    Head(units=(8,), normalization="after_activation", normalization_kind="group", groups=4),
)


@pytest.mark.parametrize("head", [*(load_recipe(name).head for name in recipe_names()), *ODD_HEADS])
def test_the_summary_counts_what_keras_counts(head: Head) -> None:
    """Classes, output shapes and parameters of every layer are those of the Keras model that is trained."""
    plan = plan_head(head, n_classes=2)
    rows = summarize_plan(plan, feature_shape=(2, 2, 16))
    model = build_plan(plan, head=head, feature_shape=(2, 2, 16), seed=0)
    assert [row.name for row in rows] == [layer.name for layer in model.layers]
    assert [row.kind for row in rows] == [type(layer).__name__ for layer in model.layers]
    assert [row.output_shape for row in rows] == [tuple(layer.output.shape[1:]) for layer in model.layers]
    assert [row.n_parameters for row in rows] == [layer.count_params() for layer in model.layers]
    trainable = sum(variable.numpy().size for variable in model.trainable_variables)
    assert count_trainable(rows) == trainable


def test_the_table_of_text_ends_with_the_sums() -> None:
    """Each layer has a line with its shape and count, the last line the sums."""
    lines = summary_lines(summarize_head(load_recipe("blog").head, image_size=128))
    assert lines[0].split() == ["layer", "type", "output", "shape", "parameters"]
    assert lines[2].split() == ["hidden_1", "Dense", "256", "2,097,408"]
    assert "dropout_1        Dropout (0.3)" in lines[4]
    assert lines[-1] == "Parameters: 2,098,946, of which trainable: 2,098,434."
