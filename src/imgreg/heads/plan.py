"""What a head is made of, as a plain list of layers: Keras builds it (build.py), NumPy answers with it (forward.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from imgreg.errors import UsageError

if TYPE_CHECKING:
    from imgreg.config import Head, HeadLayer


_SHORT_NAMES = {"dense": "hidden", "batch_normalization": "normalization", "layer_normalization": "normalization"}

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
    layers = []
    if head.map_normalization == "instance":
        layers.append(Layer(kind="instance_normalization", name="map_normalization", epsilon=1e-3))
    layers.append(Layer(kind=head.pool, name="pool"))
    if head.scaling != "none":
        layers.append(Layer(kind="scaling", name="scaling"))
    layers += _hidden_layers(head) if head.layers is None else _own_layers(head)
    layers.append(Layer(kind="dense", name="classes", units=1 if head.output == "sigmoid" else n_classes))
    layers.append(Layer(kind="activation", name="probabilities", function=head.output))
    return tuple(layers)


def layers_by_name(head: Head) -> dict[str, HeadLayer]:
    """Name the layers that a head gives one by one as plan_head names them: by kind and the number of Dense layers.

    >>> from imgreg.config import Head
    >>> list(layers_by_name(Head(layers=[{"kind": "dropout", "rate": 0.2}, {"kind": "dense", "units": 8}])))
    ['dropout_0', 'hidden_1']
    """
    n_dense = 0
    named: dict[str, HeadLayer] = {}
    for layer in head.layers or ():
        n_dense += layer.kind == "dense"
        kind = _SHORT_NAMES.get(layer.kind, layer.kind)
        name = f"{kind}_{n_dense}"
        while name in named:
            name += "b"
        named[name] = layer
    return named


def _own_layers(head: Head) -> list[Layer]:
    return [
        Layer(
            kind=one.kind,
            name=name,
            **{k: v for k, v in one if k in ("units", "function", "epsilon", "rate")},
        )
        for name, one in layers_by_name(head).items()
    ]


def _hidden_layers(head: Head) -> list[Layer]:
    layers = []
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
    return layers


def refuse_output(head: Head, *, n_classes: int) -> None:
    """Raise UsageError for an output layer that cannot tell so many classes apart."""
    if head.output == "sigmoid" and n_classes != 2:
        raise UsageError(
            f"head.output = sigmoid is for two classes, found {n_classes}: its single unit gives the probability of "
            "the second class. Use --set head.output=softmax."
        )


def _normalization(head: Head, *, number: int) -> Layer:
    """Keras' default epsilon each"""
    name = f"normalization_{number}"
    if head.normalization_kind == "layer":
        return Layer(kind="layer_normalization", name=name, epsilon=1e-3)
    if head.normalization_kind == "group":
        return Layer(kind="group_normalization", name=name, epsilon=1e-3, groups=head.groups)
    return Layer(kind="batch_normalization", name=name, epsilon=1e-3)
