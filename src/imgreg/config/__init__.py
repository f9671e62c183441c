"""Every setting of imgreg: default, range, unit and help text, written once.

The command line and the docs read them from here. A recipe is what a TOML file holds; `Settings` is all that
one training depends on. Frozen values: nothing is changed after it was checked.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from imgreg.config.base import Config
from imgreg.config.head import ActivationName as ActivationName
from imgreg.config.head import Head as Head
from imgreg.config.head import HeadLayer as HeadLayer
from imgreg.config.head import InitializerName as InitializerName
from imgreg.config.training import Augmentation as Augmentation
from imgreg.config.training import Finetune as Finetune
from imgreg.config.training import Optimizer as Optimizer
from imgreg.config.training import Prediction as Prediction
from imgreg.config.training import Training as Training

Range = tuple[float | None, float | None]


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
