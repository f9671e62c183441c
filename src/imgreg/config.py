"""Every setting of imgreg: default, range, unit and help text, written once.

The command line and the docs read them from here. A recipe is what a TOML file holds; `Settings` is all that
one training depends on. Frozen values: nothing is changed after it was checked.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from imgreg.table import Config

UnitCount = Annotated[int, Field(ge=1, le=65_536)]


class Head(Config):
    """The trainable part: Dense layers on the frozen features."""

    pool: Literal["flatten", "avg", "max"] = Field(
        "flatten", description="How the 512-channel feature map becomes a vector."
    )
    units: tuple[UnitCount, ...] = Field((256,), description="Units of each hidden Dense layer; [] for none.")
    activation: Literal["relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid"] = Field(
        "relu", description="Activation of the hidden layers."
    )
    l1: float = Field(0.0, ge=0, le=10, description="L1 penalty on hidden kernels: this times the sum of |weight|.")
    l2: float = Field(0.0, ge=0, le=10, description="L2 penalty on hidden kernels: this times the sum of weight².")
    dropout: float = Field(0.0, ge=0, lt=1, description="Share of hidden units silenced at each training step.")
    normalization: Literal["none", "before_activation", "after_activation", "after_dropout"] = Field(
        "none", description="Where BatchNormalization stands in each hidden layer."
    )

    def idle(self) -> dict[str, str]:
        if self.units:
            return {}
        hidden = ("activation", "l1", "l2", "dropout", "normalization")
        return dict.fromkeys(hidden, "without hidden layers (units = [])")


class Optimizer(Config):
    """Adam, as in keras.optimizers.Adam."""

    learning_rate: float = Field(1e-3, gt=0, le=10, description="Adam's learning rate (Keras' default is 0.001).")


class Training(Config):
    """How long and in what portions the head is trained."""

    epochs: int = Field(100, ge=1, le=100_000, description="Passes over the train photos.")
    batch_size: int = Field(32, ge=1, le=65_536, description="Photos in one gradient step.")
    patience_epochs: int = Field(
        0,
        ge=0,
        description="Stop after this many epochs without a better validation cross-entropy; 0: never.",
    )

    def idle(self) -> dict[str, str]:
        if self.patience_epochs >= self.epochs:
            return {"patience_epochs": f"with {self.epochs} epochs: it must be less"}
        return {}


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


class Recipe(Config):
    """How a head is built and trained. A recipe file is this as TOML; its header says source and expectation."""

    name: str = Field(min_length=1, max_length=80, description="The recipe's name, shown in figures and tables.")
    source: str = Field("", description="Where the recipe comes from.")
    expect: str = Field("", description="What to expect of it.")
    head: Head = Head()
    optimizer: Optimizer = Optimizer()
    training: Training = Training()
    augmentation: Augmentation = Augmentation()

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
    split_seed: int = Field(0, ge=0, lt=2**32, description="Another seed draws another split.")
    max_bad: float = Field(0.05, ge=0, le=1, description="Largest share of unreadable files that is gone along with.")


class Settings(Config):
    """All that one training depends on, apart from the photos themselves. Rendered as a run's config.toml."""

    seed: int = Field(0, ge=0, lt=2**32, description="Seed of the initial weights, the order, dropout and the views.")
    photos: Photos = Photos()
    base: Base = Base()
    recipe: Recipe

    @model_validator(mode="after")
    def _refuse_lost_maps(self) -> Self:
        kept, pool = self.base.stored, self.recipe.head.pool
        if kept not in ("map", pool):
            raise ValueError(
                f"stored = {kept} keeps no map, which recipe {self.recipe.name} needs for pool = {pool}: "
                f"set head.pool={kept}, or keep the map"
            )
        return self
