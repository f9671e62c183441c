"""What a head is made of, as a plain list of layers: Keras builds it (build.py), NumPy answers with it (forward.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from imgreg.errors import UsageError

if TYPE_CHECKING:
    from imgreg.config import Head, HeadLayer


Count = Annotated[int, msgspec.Meta(ge=1, le=65_536)]
Small = Annotated[float, msgspec.Meta(gt=0, le=1)]
Share = Annotated[float, msgspec.Meta(ge=0, lt=1)]


class Layer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One layer. `name` also names its arrays in head.safetensors, e.g. hidden_1/kernel."""

    kind: Literal[
        "flatten",
        "avg",
        "max",
        "flatten+max",
        "scaling",
        "dense",
        "activation",
        "batch_normalization",
        "layer_normalization",
        "group_normalization",
        "instance_normalization",
        "dropout",
    ]
    name: str
    units: Count | None = None  # dense
    function: str | None = None  # activation: Keras' name of it
    epsilon: Small | None = None  # normalizations
    groups: Count | None = None  # group_normalization
    rate: Share | None = None  # dropout


def plan_head(head: Head, *, n_classes: int) -> tuple[Layer, ...]:
    """Lay out a head's layers in order; the last is the softmax over the classes, or the sigmoid of the second class.

    raises   UsageError for a sigmoid output with more than two classes

    source   the order Dense, activation, Dropout, BatchNormalization is the blog's (after_dropout); before the
             activation is Ioffe & Szegedy 2015's, arXiv:1502.03167

    >>> from imgreg.config import Head
    >>> [layer.name for layer in plan_head(Head(dropout=0.3, normalization="after_dropout"), n_classes=2)]
    ['pool', 'hidden_1', 'activation_1', 'dropout_1', 'normalization_1', 'classes', 'probabilities']
    """
    refuse_output(head, n_classes=n_classes)
    layers: list[Layer] = []
    if head.map_normalization == "instance":
        layers.append(Layer(kind="instance_normalization", name="map_normalization", epsilon=1e-3))
    layers.append(Layer(kind=head.pool, name="pool"))
    if head.scaling != "none":
        layers.append(Layer(kind="scaling", name="scaling"))
    if head.layers:
        return (*layers, *_given(head.layers))
    for number, (units, rate) in enumerate(zip(head.units, head.dropouts, strict=True), start=1):
        normalization = _normalization(head, number=number)
        activation = Layer(kind="activation", name=f"activation_{number}", function=head.activation)
        dropout = Layer(kind="dropout", name=f"dropout_{number}", rate=rate)
        layers.append(Layer(kind="dense", name=f"hidden_{number}", units=units))
        if head.normalization == "before_activation":
            layers.append(normalization)
        layers.append(activation)
        if head.normalization == "after_activation":
            layers.append(normalization)
        if rate:
            layers.append(dropout)
        if head.normalization == "after_dropout":
            layers.append(normalization)
    layers.append(Layer(kind="dense", name="classes", units=1 if head.output == "sigmoid" else n_classes))
    layers.append(Layer(kind="activation", name="probabilities", function=head.output))
    return tuple(layers)


def refuse_output(head: Head, *, n_classes: int) -> None:
    """Raise UsageError for an output layer that cannot have so many classes."""
    function, units = (head.layers[-1].function, head.layers[-2].units) if head.layers else (head.output, None)
    if function == "sigmoid" and n_classes != 2:
        raise UsageError(
            f"head.output = sigmoid is for two classes, found {n_classes}: its single unit gives the probability of "
            "the second class. Use --set head.output=softmax."
        )
    if function == "softmax" and units not in (None, n_classes):
        raise UsageError(f"the head has {units} softmax outputs, but the photos have {n_classes} classes.")


def _given(given: Sequence[HeadLayer]) -> Iterator[Layer]:
    """Name the layers as those of any other head: by their place after the hidden Dense layers, counted from 1."""
    n_dense, number = sum(layer.kind == "dense" for layer in given), 0
    taken: Counter[str] = Counter()
    for layer in given:
        number += layer.kind == "dense"
        stem = {"dense": "hidden", "activation": "activation", "dropout": "dropout"}.get(layer.kind, "normalization")
        name = f"{stem}_{number}"
        if number == n_dense and stem in ("hidden", "activation"):
            name = "classes" if stem == "hidden" else "probabilities"
        taken[name] += 1
        yield Layer(
            kind=layer.kind,
            name=name if taken[name] == 1 else f"{name}_{taken[name]}",
            units=layer.units,
            function=layer.function,
            epsilon=layer.epsilon if "normalization" in layer.kind else None,
            rate=layer.rate,
        )


def _normalization(head: Head, *, number: int) -> Layer:
    """Keras' default epsilon each"""
    name = f"normalization_{number}"
    if head.normalization_kind == "layer":
        return Layer(kind="layer_normalization", name=name, epsilon=1e-3)
    if head.normalization_kind == "group":
        return Layer(kind="group_normalization", name=name, epsilon=1e-3, groups=head.groups)
    return Layer(kind="batch_normalization", name=name, epsilon=1e-3)
