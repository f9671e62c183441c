"""The settings of a head: the table [head] of a recipe. Imported from imgreg.config."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from imgreg.config.base import Config

UnitCount = Annotated[int, Field(ge=1, le=65_536)]
Share = Annotated[float, Field(ge=0, lt=1)]
ShareOrList = Annotated[
    Annotated[Share, Tag("one")] | Annotated[tuple[Share, ...], Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "one"),
]
ShareOrAuto = Annotated[
    Annotated[Share, Tag("one")] | Annotated[Literal["auto"], Tag("word")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "one"),
]

ActivationName = Literal["relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "linear"]
InitializerName = Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal", "zeros"]


class HeadLayer(Config):
    """One layer of a head that is given layer by layer."""

    kind: Literal["dense", "activation", "dropout", "batch_normalization", "layer_normalization"] = Field(
        description="Kind of layer, as in keras.layers."
    )
    units: UnitCount | None = Field(None, description="Units of a Dense layer.")
    initializer: InitializerName = Field("glorot_uniform", description="Initializer of a Dense kernel.")
    l1: float = Field(0.0, ge=0, le=10, description="L1 penalty factor of a Dense kernel.")
    l2: float = Field(0.0, ge=0, le=10, description="L2 penalty factor of a Dense kernel.")
    max_norm: float = Field(0.0, ge=0, le=1000, description="Maximum norm of a unit's incoming weights; 0: no limit.")
    function: ActivationName | Literal["softmax"] | None = Field(None, description="Function of an activation.")
    activity_l1: float = Field(0.0, ge=0, le=10, description="L1 penalty factor of an activation's outputs.")
    activity_l2: float = Field(0.0, ge=0, le=10, description="L2 penalty factor of an activation's outputs.")
    rate: Share | None = Field(None, description="Fraction of units dropped by a dropout layer.")
    epsilon: float = Field(1e-3, gt=0, le=1, description="Constant for numerical stability of a normalization.")
    momentum: float = Field(0.99, ge=0, lt=1, description="Momentum of BatchNormalization's moving mean and variance.")

    def idle(self) -> dict[str, str]:
        own = _OF_KIND[self.kind]
        return {
            name: f"in a layer of kind {self.kind}" for name in type(self).model_fields if name not in (*own, "kind")
        }

    @model_validator(mode="after")
    def _refuse_incomplete(self) -> Self:
        needed = {"dense": "units", "activation": "function", "dropout": "rate"}.get(self.kind)
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f"a layer of kind {self.kind} needs {needed}")
        return self


_OF_KIND = {
    "dense": ("units", "initializer", "l1", "l2", "max_norm"),
    "activation": ("function", "activity_l1", "activity_l2"),
    "dropout": ("rate",),
    "batch_normalization": ("epsilon", "momentum"),
    "layer_normalization": ("epsilon",),
}


class Head(Config):
    """The trainable part: Dense layers on the frozen features."""

    pool: Literal["flatten", "avg", "max", "flatten+max"] = Field(
        "flatten",
        description="How to turn the 512-channel feature map into a vector; flatten+max concatenates the flattened "
        "map and the channel maxima, each scaled to unit length.",
    )
    map_normalization: Literal["none", "instance"] = Field(
        "none",
        description="Instance normalization of the feature map, per photo and channel, before pooling.",
    )
    scaling: Literal["none", "standardize", "min_max"] = Field(
        "none",
        description="Scaling of the pooled features, fitted on the train photos: to mean 0 and standard deviation "
        "1, or to 0..1.",
    )
    units: tuple[UnitCount, ...] = Field((256,), description="Units of each hidden Dense layer; [] for none.")
    activation: ActivationName = Field("relu", description="Activation of the hidden layers; linear is none.")
    initializer: InitializerName = Field(
        "glorot_uniform", description="Initializer of the Dense kernels (zeros is for demonstration only)."
    )
    output: Literal["softmax", "sigmoid"] = Field(
        "softmax",
        description="Output layer: one unit per class with softmax and categorical cross-entropy, or, for two classes, "
        "a single unit with sigmoid and binary cross-entropy.",
    )
    l1: float = Field(
        0.0, ge=0, le=10, description="L1 penalty factor of the hidden kernels, times the sum of |weight|."
    )
    l2: float = Field(
        0.0, ge=0, le=10, description="L2 penalty factor of the hidden kernels, times the sum of weight²."
    )
    activity_l1: float = Field(
        0.0,
        ge=0,
        le=10,
        description="L1 penalty factor of the hidden outputs, times the sum of |output|, mean per photo.",
    )
    activity_l2: float = Field(
        0.0,
        ge=0,
        le=10,
        description="L2 penalty factor of the hidden outputs, times the sum of output², mean per photo.",
    )
    max_norm: float = Field(
        0.0, ge=0, le=1000, description="Maximum norm of a hidden unit's incoming weights (MaxNorm); 0: no limit."
    )
    dropout: ShareOrList = Field(
        0.0, description="Fraction of hidden units dropped at each training step; a list sets it per hidden layer."
    )
    normalization: Literal["none", "before_activation", "after_activation", "after_dropout"] = Field(
        "none", description="Position of the normalization in each hidden layer."
    )
    normalization_kind: Literal["batch", "layer", "group", "instance"] = Field(
        "batch", description="Kind of normalization: BatchNormalization, LayerNormalization, or group normalization."
    )
    groups: int = Field(8, ge=1, le=65_536, description="Number of groups in group normalization.")
    batch_norm_statistics: Literal["precise", "moving"] = Field(
        "moving",
        description="Mean and variance that BatchNormalization uses outside training: precise, over the clean train "
        "photos after each epoch, or moving, Keras' running averages, which lag where an epoch has few steps.",
    )
    batch_norm_momentum: ShareOrAuto = Field(
        "auto",
        description="Momentum of BatchNormalization's moving mean and variance. auto averages over about one epoch, "
        "from 0.5 with two steps an epoch to Keras' default 0.99 with a hundred.",
    )
    layers: tuple[HeadLayer, ...] | None = Field(
        None,
        description="The layers after the pooling, one by one, instead of the settings above; for heads that these "
        "cannot describe.",
    )

    def idle(self) -> dict[str, str]:
        if self.layers:
            others = set(type(self).model_fields) - {"pool", "map_normalization", "scaling", "layers"}
            return dict.fromkeys(others, "beside layers")
        kinds = ("normalization_kind", "groups", "batch_norm_statistics", "batch_norm_momentum")
        if not self.units:
            hidden = ("activation", "l1", "l2", "activity_l1", "activity_l2", "max_norm", "dropout", "normalization")
            return dict.fromkeys((*hidden, *kinds), "without hidden layers (units = [])")
        if self.normalization == "none":
            return dict.fromkeys(kinds, "without normalization (normalization = none)")
        found: dict[str, str] = {}
        if self.normalization_kind != "group":
            found["groups"] = f"with normalization_kind = {self.normalization_kind}"
        if self.normalization_kind != "batch":
            kind = f"with normalization_kind = {self.normalization_kind}"
            found |= {"batch_norm_statistics": kind, "batch_norm_momentum": kind}
        elif self.batch_norm_statistics == "precise":
            found["batch_norm_momentum"] = "with batch_norm_statistics = precise"
        return found

    @property
    def dropouts(self) -> tuple[float, ...]:
        """The dropout rate of each hidden layer."""
        return self.dropout if isinstance(self.dropout, tuple) else (self.dropout,) * len(self.units)

    @model_validator(mode="after")
    def _refuse_unusual_order(self) -> Self:
        if not self.layers:
            return self
        steps = [layer for layer in self.layers if layer.kind in ("dense", "activation")]
        kinds = [layer.kind for layer in steps]
        if kinds != ["dense", "activation"] * (len(steps) // 2) or [i.kind for i in self.layers[-2:]] != kinds[-2:]:
            raise ValueError(
                "layers: expected one activation after each Dense layer, and a Dense layer and its activation at the "
                "end"
            )
        functions = [layer.function for layer in steps if layer.kind == "activation"]
        if functions[-1] not in ("softmax", "sigmoid") or "softmax" in functions[:-1]:
            raise ValueError("layers: expected softmax or sigmoid as the last activation, and softmax nowhere else")
        if functions[-1] == "sigmoid" and steps[-2].units != 1:
            raise ValueError(f"layers: a sigmoid output has 1 unit, found {steps[-2].units}")
        return self

    @model_validator(mode="after")
    def _refuse_what_cannot_be_built(self) -> Self:
        if self.layers:
            return self
        if self.units and self.normalization != "none":
            if self.normalization_kind == "instance":
                raise ValueError(
                    "normalization_kind = instance has no meaning for a vector: it normalizes over positions, and a "
                    "unit has only one. Set map_normalization = instance, or use layer or group"
                )
            odd = [n for n in self.units if n % self.groups]
            if self.normalization_kind == "group" and odd:
                raise ValueError(f"groups = {self.groups} does not divide {odd[0]} units: choose a divisor")
        if self.map_normalization == "instance" and self.pool == "avg":
            raise ValueError(
                "map_normalization = instance gives every channel the same average in all photos, which leaves "
                "nothing for pool = avg. Use pool = flatten or max"
            )
        if self.units and len(self.dropouts) != len(self.units):
            raise ValueError(
                f"dropout has {len(self.dropouts)} rates for {len(self.units)} hidden layers: give one per layer, or "
                "one for all"
            )
        return self
