"""Every setting of imgreg: default, range, unit and help text, written once.

The command line and the docs read them from here. A recipe is what a TOML file holds; `Settings` is all that
one training depends on. Frozen values: nothing is changed after it was checked.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from imgreg.base_config import Config

UnitCount = Annotated[int, Field(ge=1, le=65_536)]
Share = Annotated[float, Field(ge=0, lt=1)]
Range = tuple[float | None, float | None]
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
        if not self.units:
            hidden = ("activation", "l1", "l2", "activity_l1", "activity_l2", "max_norm", "dropout", "normalization")
            kinds = ("normalization_kind", "groups", "batch_norm_statistics", "batch_norm_momentum")
            return dict.fromkeys((*hidden, *kinds), "without hidden layers (units = [])")
        if self.normalization == "none":
            kinds = ("normalization_kind", "groups", "batch_norm_statistics", "batch_norm_momentum")
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


class Optimizer(Config):
    """What turns gradients into steps, and how long the steps are over the epochs. As in keras.optimizers."""

    name: Literal["adam", "adamw", "rmsprop", "sgd", "ftrl"] = Field(
        "adam", description="Optimizer, with Keras' defaults but for the settings below."
    )
    learning_rate: float = Field(
        1e-3, gt=0, le=10, description="Learning rate; the peak rate if a schedule is used (Keras' Adam: 0.001)."
    )
    weight_decay: float = Field(
        0.004, ge=0, le=1, description="AdamW's weight decay of the kernels per step, times the learning rate."
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="Momentum of SGD and RMSprop.")
    beta_1: float = Field(0.9, ge=0, lt=1, description="Adam's and AdamW's decay rate of the first moment.")
    beta_2: float = Field(0.999, ge=0, lt=1, description="Adam's and AdamW's decay rate of the second moment.")
    epsilon: float = Field(1e-7, gt=0, le=1, description="Adam's and AdamW's constant for numerical stability.")
    schedule: Literal["constant", "inverse_time", "exponential", "cosine", "cosine_restarts", "reduce_on_plateau"] = (
        Field("constant", description="Learning rate schedule.")
    )
    decay_epochs: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        description="Epochs after which inverse_time and exponential have applied decay_rate once, the (first) "
        "cosine reaches 0 (each restart lasts twice as long), or a plateau counts. By default, all "
        "epochs.",
    )
    decay_rate: float = Field(
        0.5,
        gt=0,
        le=1000,
        description="inverse_time: rate / (1 + this · epochs / decay_epochs); exponential and reduce_on_plateau: "
        "multiply by this, below 1.",
    )
    alpha: float = Field(
        0.0, ge=0, le=1, description="Fraction of the learning rate at which a cosine ends, instead of 0."
    )
    warmup_epochs: float = Field(
        0.0, ge=0, le=1000, description="Epochs of linear warm-up from 0 before the schedule starts."
    )

    def idle(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.name != "adamw":
            found["weight_decay"] = f"with {self.name} (only with AdamW)"
        if self.name not in ("sgd", "rmsprop"):
            found["momentum"] = f"with {self.name}"
        if self.name not in ("adam", "adamw"):
            found |= dict.fromkeys(("beta_1", "beta_2", "epsilon"), f"with {self.name} (only with Adam and AdamW)")
        if self.schedule not in ("cosine", "cosine_restarts"):
            found["alpha"] = f"with schedule = {self.schedule}"
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

    epochs: int = Field(100, ge=1, le=100_000, description="Maximum number of epochs.")
    batch_size: int = Field(32, ge=1, le=65_536, description="Batch size.")
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Label smoothing: fraction of each label spread over all classes during training."
    )
    patience_epochs: int = Field(
        0,
        ge=0,
        description="Early stopping: stop after this many epochs without a better validation cross-entropy; 0: off.",
    )
    min_delta: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Minimum decrease of the validation cross-entropy (in nats) that patience_epochs counts as an "
        "improvement; the epoch with the lowest is kept in any case.",
    )
    keep: Literal["best", "last"] = Field(
        "best",
        description="Which epoch's head is kept: the one of the lowest validation cross-entropy, or the last, which "
        "suits a learning rate that falls to almost 0. Early stopping keeps the best.",
    )

    def idle(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if self.patience_epochs >= self.epochs:
            found["patience_epochs"] = f"with {self.epochs} epochs: it must be smaller"
        if self.patience_epochs:
            found["keep"] = "with early stopping (patience_epochs), which keeps the best epoch"
        else:
            found["min_delta"] = "without early stopping (patience_epochs = 0)"
        return found


_RANGES = ("rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_range")


class Augmentation(Config):
    """Random variants ("views") of train photos. Ranges as in Keras' ImageDataGenerator."""

    backend: Literal["none", "keras", "albumentations"] = Field(
        "none", description="Augmentation backend: Keras' ImageDataGenerator or albumentations."
    )
    pipeline: str | None = Field(
        None,
        description="Pipeline file written by albumentations (.json, .yaml), instead of the ranges below.",
    )
    views: int = Field(
        8,
        ge=1,
        le=100_000,
        description="Augmented views per train photo; epoch e trains on view 1 + ((e - 1) mod views).",
    )
    strength: float = Field(
        1.0, gt=0, le=10, description="Factor on all ranges below: 0.5 halves rotation, shift, shear and zoom."
    )
    rotation_range: float = Field(40.0, ge=0, le=180, description="Maximum rotation in either direction, in degrees.")
    width_shift_range: float = Field(
        0.2, ge=0, lt=1, description="Maximum horizontal shift, as a fraction of the width."
    )
    height_shift_range: float = Field(
        0.2, ge=0, lt=1, description="Maximum vertical shift, as a fraction of the height."
    )
    shear_range: float = Field(
        0.2,
        ge=0,
        le=89,
        description="Maximum shear angle, in degrees (as in Keras, where the usual 0.2 is hardly visible).",
    )
    zoom_range: float = Field(
        0.2, ge=0, lt=1, description="Zoom factors are drawn from 1 - this to 1 + this, per axis."
    )
    horizontal_flip: bool = Field(True, description="Mirror half of the views horizontally.")
    fill_mode: Literal["nearest", "reflect", "wrap", "constant"] = Field(
        "nearest", description="How to fill the areas left empty by a shift or rotation."
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
                f"strength = {self.strength:g} raises {name} to {self.strength * getattr(self, str(name)):g}, which "
                "is too large: lower one of them"
            ) from error
        return self


class CurveStyle(Config):
    """How curves are drawn. It changes no number: only figures."""

    log_epochs: bool = Field(False, description="Draw the curves over a logarithmic epoch axis.")
    smooth: float = Field(
        0.0,
        ge=0,
        le=10_000,
        description="Smooth the drawn curves with a Gaussian of this standard deviation, in epochs; the unsmoothed "
        "curves stay visible behind. 0: off.",
    )
    xlim: Range | None = Field(None, description="Epochs shown, e.g. 10:200; 10: is from 10 on.")
    ylim: Range | None = Field(None, description="Loss axis from A to B, e.g. 0.2:0.8; :0.8 is up to 0.8.")

    @model_validator(mode="after")
    def _refuse_empty_ranges(self) -> Self:
        for name, span in (("xlim", self.xlim), ("ylim", self.ylim)):
            low, high = span or (None, None)
            if span == (None, None) or (low is not None and high is not None and low >= high):
                raise ValueError(f"{name}: expected A:B with A below B, e.g. 10:200, 10: or :200")
        if self.log_epochs and self.xlim and self.xlim[0] is not None and self.xlim[0] <= 0:
            raise ValueError("xlim must start above 0 if the epoch axis is logarithmic, e.g. 1:200")
        return self


LABEL_RECIPE, LABEL_REPEATS, LABEL_FOLDS = "low_lr", 3, 5  # defaults of a label check
SWEEPS = 3  # default number of heads in a learning rate range test


class Tuning(Config):
    """How far a search for a recipe goes, and what it is scored on."""

    trials: int = Field(60, ge=1, le=10_000, description="Number of recipes that each search tries.")
    seconds: float | None = Field(
        None,
        gt=0,
        description="Time for all searches; each gets an equal share of what is left, and ends with a batch of trials.",
    )
    folds: int = Field(
        3,
        ge=2,
        le=20,
        description="Outer folds: how many times the search itself is scored on photos that it never saw.",
    )
    inner_folds: int = Field(3, ge=2, le=20, description="Inner folds, on which each search compares recipes.")


class Prediction(Config):
    """How a trained head answers, in the curves as in predict."""

    mirror: bool = Field(
        False,
        description="Average the probabilities of each photo and its mirror image, when scoring and in predict.",
    )


class Finetune(Config):
    """Training the last convolutions of VGG16 on, together with the head, once the head is trained."""

    block: Literal["none", "block5", "block4"] = Field(
        "none",
        description="Fine-tune VGG16 from this block on (block4: block4 and block5) after the head is trained.",
    )
    learning_rate: float = Field(
        1e-5, ge=0, le=1, description="Adam's learning rate of the unfrozen convolutions, at first."
    )
    head_learning_rate: float = Field(
        1e-4, ge=0, le=1, description="Adam's learning rate of the head while fine-tuning, at first."
    )
    schedule: Literal["constant", "cosine"] = Field(
        "cosine", description="Schedule of both rates; cosine: they fall to 0 over the fine-tuning epochs."
    )
    epochs: int = Field(12, ge=1, le=100_000, description="Maximum number of fine-tuning epochs.")
    patience_epochs: int = Field(
        0,
        ge=0,
        description="Stop fine-tuning after this many epochs without a better validation cross-entropy than in an "
        "earlier fine-tuning epoch; 0: off.",
    )

    def idle(self) -> dict[str, str]:
        if self.block == "none":
            others = ("learning_rate", "head_learning_rate", "schedule", "epochs", "patience_epochs")
            return dict.fromkeys(others, "without fine-tuning (block = none)")
        return {}


class Recipe(Config):
    """How a head is built and trained. A recipe file is this as TOML; its header says source and expectation."""

    name: str = Field(min_length=1, max_length=80, description="Name of the recipe, shown in figures and tables.")
    source: str = Field("", description="Source of the recipe.")
    expect: str = Field("", description="Expected result.")
    head: Head = Head()
    optimizer: Optimizer = Optimizer()
    training: Training = Training()
    augmentation: Augmentation = Augmentation()
    prediction: Prediction = Prediction()
    finetune: Finetune = Finetune()

    @model_validator(mode="after")
    def _refuse_finetuned_normalized_map(self) -> Self:
        if self.finetune.block != "none" and self.head.map_normalization != "none":
            raise ValueError(
                f"finetune.block = {self.finetune.block} cannot be combined with head.map_normalization = "
                f"{self.head.map_normalization}: omit one of them"
            )
        return self

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
        description="auto (ImageNet if available, else the bundled starter weights), imagenet, starter, or a file.",
    )
    image_size: int | None = Field(
        None, ge=32, le=1024, description="Width and height in pixels; the default depends on the weights."
    )
    engine: Literal["auto", "openvino", "keras"] = Field("auto", description="Engine that computes the features.")
    precision: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        "auto",
        description="Precision of VGG16; auto uses bfloat16 if the processor supports it. int8 is 1.6 to 2 times "
        "as fast as bfloat16 and changes probabilities in the second digit; it needs OpenVINO and a processor with "
        "VNNI or AMX.",
    )
    preprocessing: Literal["vgg16", "rescale"] = Field(
        "vgg16",
        description="Preprocessing of the photos: vgg16 is keras.applications.vgg16.preprocess_input (BGR minus "
        "ImageNet's channel means), which the weights were trained with; rescale divides by 255, as many tutorials do.",
    )
    stored: Literal["map", "avg", "max"] = Field(
        "map",
        description="What to cache per augmented view: the feature map, for any head (50 KB at 224 px), or only its "
        "channel averages or maxima (1 KB), for heads with that pool.",
    )


class Photos(Config):
    """Which photos are used and how they are split."""

    val_fraction: float = Field(
        0.2, gt=0, lt=1, description="Fraction of each class held out for validation, unless DATA is already split."
    )
    folds: Literal["auto"] | Annotated[int, Field(ge=0, le=20)] = Field(
        "auto",
        description="Cross-validation: train this many heads, score each photo with the head that never saw it, and "
        "predict the mean of the heads. 0: a single split. auto: 5 if a single split would have fewer "
        "than 200 validation photos.",
    )
    split_seed: int = Field(0, ge=0, lt=2**32, description="Random seed of the split.")
    max_bad: float = Field(0.05, ge=0, le=1, description="Maximum fraction of unreadable files to tolerate.")
    allow_leakage: bool = Field(
        False, description="Train even if identical files appear in more than one class or split."
    )


SHUFFLED_LABELS = "shuffled-labels"
CHEAP_BASELINES = ("majority", "colour-histogram", "file-metadata")  # need no network, and are always run beside it
SANITY_BASELINES = (*CHEAP_BASELINES, SHUFFLED_LABELS)


class Settings(Config):
    """All that one training depends on, apart from the photos themselves. Rendered as a run's config.toml."""

    seed: int = Field(
        0, ge=0, lt=2**32, description="Random seed of the initial weights, shuffling, dropout and augmentation."
    )
    photos: Photos = Photos()
    base: Base = Base()
    recipe: Recipe

    @model_validator(mode="after")
    def _refuse_lost_maps(self) -> Self:
        kept, pool = self.base.stored, self.recipe.head.pool
        if kept != "map" and self.recipe.finetune.block != "none":
            raise ValueError(f"stored = {kept} does not keep the feature map, which fine-tuning needs")
        if kept != "map" and self.recipe.head.map_normalization != "none":
            raise ValueError(
                f"stored = {kept} does not keep the feature map, which recipe {self.recipe.name} needs "
                "for map_normalization"
            )
        if kept not in ("map", pool):
            raise ValueError(
                f"stored = {kept} does not keep the feature map, which recipe {self.recipe.name} needs for pool = "
                f"{pool}: set head.pool={kept}, or use stored = map"
            )
        return self
