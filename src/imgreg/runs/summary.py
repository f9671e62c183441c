"""metrics.json: one run in one JSON document, the same that `imgreg train --json` prints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from imgreg.runs.history import Epoch

Share = Annotated[float, Field(ge=0, le=1)]
Nats = Annotated[float, Field(ge=-1e4, le=1e4)]  # probabilities are clipped, so that no loss is above 17


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)  # unknown keys are ignored: a later imgreg may have written them


class Scores(_Document):
    """Figures of one epoch: cross-entropies in nats, accuracies in 0..1, gap = val_loss - train_loss."""

    epoch: int
    train_loss: float
    train_accuracy: Share
    val_loss: float
    val_accuracy: Share
    gap: float

    @classmethod
    def of(cls, row: Epoch) -> Self:
        return cls.model_validate({name: getattr(row, name) for name in cls.model_fields})


class TestScores(_Document):
    """The kept head on the photos of a given test split.

    Attributes
    ----------
    n_runs_scored : int
        Number of different runs that exactly these photos had scored by then, this one included.
    """

    __test__ = False  # not a pytest class

    n_photos: int
    loss: float
    accuracy: float
    n_runs_scored: int = 1  # a run of an older imgreg does not say


class Seconds(_Document):
    """Wall-clock time by stage; total is their sum, without the choice of weights and the writing of the report."""

    photos: float
    keras: float  # loading it
    features: float
    head: float
    total: float


class StoppedEarly(_Document):
    """Where early stopping ended a training before its last epoch.

    Attributes
    ----------
    epoch : int
        The last one that was trained, of `max_epochs`.
    patience_epochs : int
        So many epochs in a row brought no better validation loss.
    min_delta : float
        By how many nats a loss had to be lower to count as better.
    """

    epoch: int
    max_epochs: int
    patience_epochs: int
    min_delta: float


class FeatureCounts(_Document):
    """Views of photos that went through the base, and that were read from the cache; the latter include those that were
    computed just before to find near-duplicates."""

    n_computed: int
    n_read: int


class Suspicion(_Document):
    """A reason not to trust the curves, with its figures and one next step."""

    kind: str
    sentence: str
    next_step: str
    evidence: dict[str, float | int | None]


class Verdict(_Document):
    """What the curves say: a label, one sentence, and the figures behind it."""

    label: str
    sentence: str
    next_step: str
    evidence: dict[str, float | int | None]
    suspicions: tuple[Suspicion, ...] = ()  # a run of an older imgreg has none


class Difference(_Document):
    """A mean of paired differences, with its 95 % interval; None where a single pair gives none."""

    mean: Nats
    low: Nats | None
    high: Nats | None


class SanityBaseline(_Document):
    """A baseline that ignores the image content, on the photos that the head is scored on.

    Attributes
    ----------
    low, high : float
        95 % interval of the accuracy (Clopper and Pearson).
    note : str
        Further words, for shuffled-labels what the head did with them.
    accuracy_difference : Difference or None
        The kept head's accuracy less the baseline's, paired photo by photo; None for shuffled-labels and in a study.
    correct : tuple of bool
        Whether it is right on each photo, to pair it with a head; not written.
    """

    name: str
    loss: float
    accuracy: Share
    low: Share
    high: Share
    note: str = ""
    accuracy_difference: Difference | None = None  # a run of an older imgreg has none
    correct: tuple[bool, ...] = Field(default=(), exclude=True, repr=False)


class Baseline(_Document):
    """Logistic regression on the features that the head was trained on, on the photos that the head is scored on.

    Attributes
    ----------
    train_loss : float
        On the train photos that it was fitted on.
    low, high : float
        95 % interval of the accuracy (Clopper and Pearson).
    note : str
        How it was fitted: its penalty, and on how many photos.
    loss_difference, accuracy_difference : Difference
        The kept head's figure less the baseline's, paired photo by photo.
    """

    name: str
    loss: Nats
    train_loss: Nats
    accuracy: Share
    low: Share
    high: Share
    note: str
    loss_difference: Difference
    accuracy_difference: Difference


class NextStep(_Document):
    """The most promising thing to do next: what it would be, and a sentence with the reason and a command."""

    kind: str
    sentence: str


class CalibrationScores(_Document):
    """The temperature of the kept head, and what it is worth on held-out photos.

    The figures after are cross-validated: each photo is scored at a temperature fitted to others. Losses are in nats.
    """

    temperature: float
    n_photos: int
    log_loss_before: float
    log_loss_after: float
    calibration_error_before: float
    calibration_error_after: float
    note: str = ""  # why the temperature is 1, where there are too few photos


class LayerSummary(_Document):
    """One Dense layer of the kept head; of several heads the mean.

    Attributes
    ----------
    zero_weights : float
        Fraction of the kernel's weights that are exactly 0.
    small_weights : float
        Fraction below 1 % of the layer's largest weight, zeros included: what pruning could remove.
    gradient_norm_last : float or None
        Norm of the kernel's gradient at the last epoch in layers.csv.
    """

    layer: str
    n_units: int
    n_weights: int
    zero_weights: Share
    small_weights: Share
    gradient_norm_last: float | None = None


class SilencedUnits(_Document):
    """Validation scores with this fraction of the hidden units set to zero: the mean over draws, and 95 % of them."""

    fraction: Share
    n_draws: int
    loss: Nats
    loss_low: Nats
    loss_high: Nats
    accuracy: Share
    accuracy_low: Share
    accuracy_high: Share


class RunSummary(_Document):
    """One run. `best` is the epoch of the lowest validation cross-entropy, `kept` the one whose head was kept."""

    run: str
    name: str
    recipe: str
    overrides: tuple[str, ...] = ()  # settings that differ from the bundled recipe of this name, as --set takes them
    created: str  # ISO 8601, UTC
    command: str
    seed: int
    weights: str  # imagenet, starter or a file's name
    weights_sha256: str
    weights_note: str  # why these, where --weights auto had to choose; else empty
    image_size: int
    preprocessing: str = "vgg16"  # as in config.Base
    engine: str
    precision: str
    augmentation: str
    n_views: int
    classes: tuple[str, ...]
    n_train: int
    n_val: int
    n_test: int
    n_folds: int = 0  # of a cross-validation, in which each photo trains and validates; 0 for a single split
    n_skipped: int
    n_parameters: int  # trainable weights of the head
    epochs_run: int
    best_epoch: int
    kept_epoch: int
    finetuned_block: str | None = None  # block4 or block5, where VGG16 was trained on from there
    finetuned_from: int | None = None  # the first fine-tuning epoch; kept if kept_epoch is not before it
    stopped_early: StoppedEarly | None = None
    best: Scores
    kept: Scores
    last: Scores
    test: TestScores | None
    verdict: Verdict
    sanity_baselines: tuple[SanityBaseline, ...] = ()
    baselines: tuple[Baseline, ...] = ()
    against_baselines: str = ""  # the kept head compared with the best of them, a sentence
    next_step: NextStep | None = None
    calibration: CalibrationScores | None = None
    layers: tuple[LayerSummary, ...] = ()
    silenced_units: tuple[SilencedUnits, ...] = ()
    seconds: Seconds
    features: FeatureCounts
    warnings: tuple[str, ...]

    @property
    def recipe_label(self) -> str:
        """The recipe with what was changed in it."""
        return recipe_label(self.recipe, self.overrides)


def recipe_label(recipe: str, overrides: Iterable[str]) -> str:
    """Name a recipe with what was changed in it.

    >>> recipe_label("l2", ["head.l2=0.1", "head.units=[64]"]), recipe_label("l2", [])
    ('l2 + head.l2=0.1, head.units=[64]', 'l2')
    """
    changed = ", ".join(overrides)
    return f"{recipe} + {changed}" if changed else recipe
