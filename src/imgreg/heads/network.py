"""A trained classifier as arrays, for what computes with it in Keras: Grad-CAM, and the run as one Keras model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imgreg.features.backbone import Preprocessing
from imgreg.features.weights import Weights
from imgreg.heads.ensemble import Arrays
from imgreg.heads.plan import Layer
from imgreg.heads.store import SavedHead


@dataclass(frozen=True)
class Network:
    """The frozen base and the heads on it.

    Attributes
    ----------
    plan : sequence of Layer
        The layers of each head.
    heads : sequence of Arrays
        Their arrays; several heads answer by the mean of their probabilities.
    blocks : sequence of Arrays
        Of each head the convolutions that were fine-tuned with it, if they were.
    """

    base: Weights
    plan: Sequence[Layer]
    heads: Sequence[Arrays]
    blocks: Sequence[Arrays] = ()
    preprocessing: Preprocessing = "vgg16"


def network_of(saved: SavedHead, base: Weights) -> Network:
    """The network of a head read back from its run."""
    card = saved.card
    return Network(base, card.plan, saved.heads, blocks=saved.blocks, preprocessing=card.preprocessing_setting)
