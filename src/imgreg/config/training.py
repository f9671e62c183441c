"""The settings of a training: the tables of a recipe beside [head]. Imported from imgreg.config."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from imgreg.config.base import Config


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
        3e-5, ge=0, le=1, description="Adam's learning rate of the unfrozen convolutions, at first."
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
            others = set(type(self).model_fields) - {"block"}
            return dict.fromkeys(others, "without fine-tuning (block = none)")
        return {}
