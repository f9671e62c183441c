"""Every setting of imgreg: default, range, unit and help text, written once.

The command line and the docs read them from here. A recipe is what a TOML file holds; `Settings` is all that
one training depends on. Frozen values: nothing is changed after it was checked.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from imgreg.table import Config

UnitCount = Annotated[int, Field(ge=1, le=65_536)]
Share = Annotated[float, Field(ge=0, lt=1)]
ShareOrList = Annotated[
    Annotated[Share, Tag("one")] | Annotated[tuple[Share, ...], Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list | tuple) else "one"),
]


class Head(Config):
    """The trainable part: Dense layers on the frozen features."""

    pool: Literal["flatten", "avg", "max", "flatten+max"] = Field(
        "flatten",
        description="How the 512-channel feature map becomes a vector; flatten+max sets the flattened map and the "
        "channels' maxima side by side, each scaled to unit length.",
    )
    map_normalization: Literal["none", "instance"] = Field(
        "none",
        description="Instance normalization of the feature map, each photo's channel by itself, before the pool.",
    )
    scaling: Literal["none", "standardize", "min_max"] = Field(
        "none",
        description="Scaling of each pooled feature, fitted on the train photos: mean 0 and deviation 1, or 0..1.",
    )
    units: tuple[UnitCount, ...] = Field((256,), description="Units of each hidden Dense layer; [] for none.")
    activation: Literal["relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid"] = Field(
        "relu", description="Activation of the hidden layers."
    )
    initializer: Literal["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal", "zeros"] = Field(
        "glorot_uniform", description="Initial kernels of the Dense layers; zeros shows why not."
    )
    l1: float = Field(0.0, ge=0, le=10, description="L1 penalty on hidden kernels: this times the sum of |weight|.")
    l2: float = Field(0.0, ge=0, le=10, description="L2 penalty on hidden kernels: this times the sum of weight².")
    activity_l1: float = Field(
        0.0, ge=0, le=10, description="L1 penalty on hidden outputs: this times the sum of |output|, a photo's mean."
    )
    activity_l2: float = Field(
        0.0, ge=0, le=10, description="L2 penalty on hidden outputs: this times the sum of output², a photo's mean."
    )
    max_norm: float = Field(
        0.0, ge=0, le=1000, description="Largest norm of a hidden unit's incoming weights, as MaxNorm; 0: no limit."
    )
    dropout: ShareOrList = Field(
        0.0, description="Share of hidden units silenced at each training step; a list gives each hidden layer its own."
    )
    normalization: Literal["none", "before_activation", "after_activation", "after_dropout"] = Field(
        "none", description="Where a normalization stands in each hidden layer."
    )
    normalization_kind: Literal["batch", "layer", "group", "instance"] = Field(
        "batch", description="Which normalization stands there: BatchNormalization, LayerNormalization or group's."
    )
    groups: int = Field(8, ge=1, le=65_536, description="Groups of units that group normalization takes together.")
    batch_norm_momentum: float = Field(
        0.99,
        ge=0,
        lt=1,
        description="Momentum of BatchNormalization's moving mean and variance (Keras: 0.99). Lower it where an epoch "
        "has few steps: 0.99 looks back over some 100 steps.",
    )

    def idle(self) -> dict[str, str]:
        if not self.units:
            hidden = ("activation", "l1", "l2", "activity_l1", "activity_l2", "max_norm", "dropout", "normalization")
            kinds = ("normalization_kind", "groups", "batch_norm_momentum")
            return dict.fromkeys((*hidden, *kinds), "without hidden layers (units = [])")
        if self.normalization == "none":
            kinds = ("normalization_kind", "groups", "batch_norm_momentum")
            return dict.fromkeys(kinds, "without a normalization (normalization = none)")
        found: dict[str, str] = {}
        if self.normalization_kind != "group":
            found["groups"] = f"with normalization_kind = {self.normalization_kind}"
        if self.normalization_kind != "batch":
            found["batch_norm_momentum"] = f"with normalization_kind = {self.normalization_kind}"
        return found

    @property
    def dropouts(self) -> tuple[float, ...]:
        """The dropout rate of each hidden layer."""
        return self.dropout if isinstance(self.dropout, tuple) else (self.dropout,) * len(self.units)

    @model_validator(mode="after")
    def _refuse_what_cannot_be_built(self) -> Self:
        if self.units and self.normalization != "none":
            if self.normalization_kind == "instance":
                raise ValueError(
                    "normalization_kind = instance is meaningless on a vector: it takes the mean over a channel's "
                    "places, and a unit has one. Set map_normalization = instance, or take layer or group"
                )
            odd = [n for n in self.units if n % self.groups]
            if self.normalization_kind == "group" and odd:
                raise ValueError(f"groups = {self.groups} does not divide {odd[0]} units: take a divisor")
        if self.map_normalization == "instance" and self.pool == "avg":
            raise ValueError(
                "map_normalization = instance makes every channel's average the same for all photos: "
                "with pool = avg nothing would be left. Take pool = flatten or max"
            )
        if self.units and len(self.dropouts) != len(self.units):
            raise ValueError(
                f"dropout gives {len(self.dropouts)} rates for {len(self.units)} hidden layers: "
                "one each, or one for all"
            )
        return self


class Optimizer(Config):
    """What turns gradients into steps, and how long the steps are over the epochs. As in keras.optimizers."""

    name: Literal["adam", "adamw", "rmsprop", "sgd"] = Field("adam", description="The optimizer.")
    learning_rate: float = Field(
        1e-3, gt=0, le=10, description="Learning rate, the highest where a schedule lowers it (Keras' Adam: 0.001)."
    )
    weight_decay: float = Field(
        0.004, ge=0, le=1, description="AdamW's decay of kernels: each step shrinks them by this times the rate."
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="Momentum of SGD and RMSprop.")
    schedule: Literal["constant", "inverse_time", "exponential", "cosine", "cosine_restarts", "reduce_on_plateau"] = (
        Field("constant", description="How the learning rate goes down over the epochs.")
    )
    decay_epochs: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        description="Epochs over which inverse_time and exponential apply decay_rate once, a cosine falls to 0 (the "
        "first time; each restart lasts twice as long), or a plateau must last. By default all epochs of the training.",
    )
    decay_rate: float = Field(
        0.5,
        gt=0,
        le=1000,
        description="inverse_time: rate / (1 + this · epochs / decay_epochs); exponential and reduce_on_plateau: the "
        "factor, below 1.",
    )
    warmup_epochs: float = Field(
        0.0, ge=0, le=1000, description="Epochs over which the rate rises from 0, before the schedule begins."
    )

    def idle(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.name != "adamw":
            found["weight_decay"] = f"with {self.name} (it is AdamW's)"
        if self.name not in ("sgd", "rmsprop"):
            found["momentum"] = f"with {self.name}"
        if self.schedule == "constant":
            found |= dict.fromkeys(("decay_epochs", "decay_rate"), "with a constant learning rate")
        elif self.schedule in ("cosine", "cosine_restarts"):
            found["decay_rate"] = f"with schedule = {self.schedule}"
        return found

    @model_validator(mode="after")
    def _refuse_growing_rates(self) -> Self:
        if self.schedule in ("exponential", "reduce_on_plateau") and self.decay_rate >= 1:
            raise ValueError(f"decay_rate = {self.decay_rate:g} does not lower the rate: expected less than 1")
        return self


class Training(Config):
    """How long and in what portions the head is trained."""

    epochs: int = Field(100, ge=1, le=100_000, description="Passes over the train photos.")
    batch_size: int = Field(32, ge=1, le=65_536, description="Photos in one gradient step.")
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of each label that is spread over all classes while training."
    )
    patience_epochs: int = Field(
        0,
        ge=0,
        description="Stop after this many epochs without a better validation cross-entropy; 0: never.",
    )
    min_delta: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Nats by which the validation cross-entropy must fall to count as better for patience_epochs; the "
        "epoch of the lowest is kept all the same.",
    )

    def idle(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.patience_epochs >= self.epochs:
            found["patience_epochs"] = f"with {self.epochs} epochs: it must be less"
        if self.patience_epochs == 0:
            found["min_delta"] = "without early stopping (patience_epochs = 0)"
        return found


_RANGES = ("rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_range")


class Augmentation(Config):
    """Random variants ("views") of train photos. Ranges as in Keras' ImageDataGenerator."""

    backend: Literal["none", "keras", "albumentations"] = Field(
        "none", description="Who makes the views: Keras' ImageDataGenerator or albumentations."
    )
    pipeline: str | None = Field(
        None,
        description="A pipeline that albumentations serialised (.json, .yaml), in place of the ranges below.",
    )
    views: int = Field(
        8,
        ge=1,
        le=100_000,
        description="Augmented views of each train photo; epoch e trains on view 1 + ((e - 1) mod views).",
    )
    strength: float = Field(
        1.0, gt=0, le=10, description="Times every range below: 0.5 for half the rotation, shift, shear and zoom."
    )
    rotation_range: float = Field(40.0, ge=0, le=180, description="Largest rotation either way, in degrees.")
    width_shift_range: float = Field(0.2, ge=0, lt=1, description="Largest shift sideways, as a share of the width.")
    height_shift_range: float = Field(
        0.2, ge=0, lt=1, description="Largest shift up or down, as a share of the height."
    )
    shear_range: float = Field(
        0.2,
        ge=0,
        le=89,
        description="Largest shear angle, in degrees (Keras' unit: the usual 0.2 is a hair).",
    )
    zoom_range: float = Field(0.2, ge=0, lt=1, description="Zoom factors lie between 1 - this and 1 + this, per axis.")
    horizontal_flip: bool = Field(True, description="Mirror half of the views left to right.")
    fill_mode: Literal["nearest", "reflect", "wrap", "constant"] = Field(
        "nearest", description="What fills the corners that a shift or rotation leaves empty."
    )

    def idle(self) -> dict[str, str]:
        others = set(type(self).model_fields) - {"backend"}
        if self.backend == "none":
            return dict.fromkeys(others, "without augmentation (backend = none)")
        if self.pipeline is not None and self.backend == "keras":
            return {"pipeline": "with backend = keras (a pipeline file is for albumentations)"}
        if self.pipeline is not None:
            return dict.fromkeys(others - {"pipeline", "views"}, "with a pipeline file")
        return {}

    def scaled(self) -> Augmentation:
        """The same with strength 1: the ranges as they are drawn from."""
        if self.strength == 1 or self.backend == "none" or self.pipeline is not None:
            return self
        ranges = {name: self.strength * getattr(self, name) for name in _RANGES}
        return type(self).model_validate(self.model_dump(exclude={"strength", "pipeline", *_RANGES}) | ranges)

    @model_validator(mode="after")
    def _refuse_too_strong(self) -> Self:
        try:
            self.scaled()
        except ValidationError as error:
            name = error.errors()[0]["loc"][0]
            raise ValueError(
                f"strength = {self.strength:g} makes {name} {self.strength * getattr(self, str(name)):g}, too much: "
                "lower the one or the other"
            ) from error
        return self


class Prediction(Config):
    """How a trained head answers, in the curves as in predict."""

    mirror: bool = Field(
        False,
        description="Average the probabilities of the photo and of its mirror image, at training's scores and in "
        "predict alike.",
    )


class Recipe(Config):
    """How a head is built and trained. A recipe file is this as TOML; its header says source and expectation."""

    name: str = Field(min_length=1, max_length=80, description="The recipe's name, shown in figures and tables.")
    source: str = Field("", description="Where the recipe comes from.")
    expect: str = Field("", description="What to expect of it.")
    head: Head = Head()
    optimizer: Optimizer = Optimizer()
    training: Training = Training()
    augmentation: Augmentation = Augmentation()
    prediction: Prediction = Prediction()

    @property
    def schedule(self) -> Optimizer:
        """The optimizer with its decay_epochs filled in."""
        if self.optimizer.decay_epochs is not None:
            return self.optimizer
        return self.optimizer.model_copy(update={"decay_epochs": float(self.training.epochs)})

    @property
    def n_views(self) -> int:
        """Augmented views that training uses of each train photo: 0 without augmentation, one an epoch at most."""
        return 0 if self.augmentation.backend == "none" else min(self.augmentation.views, self.training.epochs)


class Base(Config):
    """The frozen VGG16 that describes the photos."""

    weights: str = Field(
        "auto",
        min_length=1,
        description="auto (ImageNet's if they can be had, else the bundled starter), imagenet, starter, or a file.",
    )
    image_size: int | None = Field(
        None, ge=32, le=1024, description="Width and height in pixels; the default is the weights' own."
    )
    engine: Literal["auto", "openvino", "keras"] = Field("auto", description="What computes the features.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Arithmetic of the base; auto takes bfloat16 where the processor has it."
    )
    stored: Literal["map", "avg", "max"] = Field(
        "map",
        description="What the cache keeps of a view: the map, for any head (50 KB at 224 px), or its average or "
        "maximum (1 KB), for heads of that pool.",
    )


class Photos(Config):
    """Which photos are used and how they are split."""

    val_fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of each class held out for validation, where no split is given."
    )
    folds: Literal["auto"] | Annotated[int, Field(ge=0, le=20)] = Field(
        "auto",
        description="Cross-validation: train so many heads, each photo scored by the head that never saw it, and "
        "answer by their mean. 0: a single split. auto: 5 where a single split would leave fewer than 200 validation "
        "photos.",
    )
    split_seed: int = Field(0, ge=0, lt=2**32, description="Another seed draws another split.")
    max_bad: float = Field(0.05, ge=0, le=1, description="Largest share of unreadable files that is gone along with.")
    allow_leakage: bool = Field(
        False, description="Train even if a picture stands in several classes, or on several sides of a given split."
    )


SHUFFLED_LABELS = "shuffled-labels"
CHEAP_CONTROLS = ("majority", "colour-histogram", "file-metadata")  # need no network, and are always run beside it
CONTROLS = (*CHEAP_CONTROLS, SHUFFLED_LABELS)


class Settings(Config):
    """All that one training depends on, apart from the photos themselves. Rendered as a run's config.toml."""

    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the initial weights, the order, dropout and the views.")
    photos: Photos = Photos()
    base: Base = Base()
    recipe: Recipe

    @model_validator(mode="after")
    def _refuse_lost_maps(self) -> Self:
        kept, pool = self.base.stored, self.recipe.head.pool
        if kept != "map" and self.recipe.head.map_normalization != "none":
            raise ValueError(f"stored = {kept} keeps no map, which recipe {self.recipe.name}'s map_normalization needs")
        if kept not in ("map", pool):
            raise ValueError(
                f"stored = {kept} keeps no map, which recipe {self.recipe.name} needs for pool = {pool}: "
                f"set head.pool={kept}, or keep the map"
            )
        return self
