"""What is worth knowing of a recipe before it is trained, a sentence each.

In: a checked recipe. Out: sentences. Knows nothing of photos or Keras.
"""

from __future__ import annotations

from imgreg.config import Recipe


def recipe_notes(recipe: Recipe) -> tuple[str, ...]:
    """Notes on settings that do the same job twice.

    >>> from imgreg.recipes import load_recipe
    >>> recipe_notes(load_recipe("max_norm"))
    ()
    >>> recipe_notes(load_recipe("activity"))[0][:54]
    'max_norm = 2 and l2 = 0.01 both limit the size of the '
    """
    head = recipe.head
    if not (head.max_norm and head.l2 and head.units):
        return ()
    return (
        f"max_norm = {head.max_norm:g} and l2 = {head.l2:g} both limit the size of the hidden weights: max_norm as a "
        "hard upper bound, l2 as a penalty. The lecture notes on regularization that the recipe `activity` follows "
        "advise against using penalties and constraints for the same job at once; to see whether both are needed, "
        "compare with --set head.max_norm=0 or --set head.l2=0.",
    )
