"""Planted curves whose verdict a reader of TensorFlow's tutorial would agree on."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from imgreg.analysis.verdict import judge
from imgreg.analysis.verdict_rules import FITTING_WELL, OVERFITTING, TOO_NOISY, UNDERFITTING
from imgreg.runs.history import History

N_VAL = 80
EPOCHS = np.arange(60)
RIGHT = 0.6 * np.exp(-EPOCHS / 8)


def labels(n_val=N_VAL):
    return np.arange(n_val) % 2


def same_for_all(loss, n_val=N_VAL):
    """Every photo has the epoch's loss: no sampling error at all."""
    return np.repeat(np.asarray(loss, float)[:, None], n_val, axis=1)


def verdict(plant, train, cross_entropy):
    return judge(plant(np.asarray(train, float), cross_entropy), val_labels=labels(cross_entropy.shape[1]))


def test_rise_while_train_falls_is_overfitting(plant):
    """A validation loss that doubles after epoch 20 while the train loss goes to zero is overfitting."""
    val = 0.4 + 0.3 * np.exp(-EPOCHS / 3) + np.clip(EPOCHS - 20, 0, None) * 0.01
    found = verdict(plant, RIGHT, same_for_all(val))
    assert found.label == OVERFITTING
    assert 18 <= found.evidence["onset_epoch"] <= 30
    assert found.evidence["rise"] == pytest.approx(val[-1] - val.min(), abs=0.02)
    assert f"from epoch {found.evidence['onset_epoch']} on" in found.sentence


def test_statistics_that_lag_are_told_before_what_the_curves_show(plant):
    """Train photos that cost 0.09 while training, 0.72 as scored: with BatchNormalization that is no underfitting."""
    history = plant(np.full(20, 0.72), same_for_all(np.full(20, 0.73)))
    learned = History(
        tuple(replace(row, objective=0.59, weight_penalty=0.5) for row in history.epochs), history.val_probabilities
    )
    found = judge(learned, val_labels=labels(), moving_statistics=True)
    assert found.label == TOO_NOISY
    assert "ends at 0.72 with them, but was 0.09 with each batch's own" in found.sentence
    assert "batch_norm_statistics=precise" in found.next_step
    assert judge(learned, val_labels=labels()).label == UNDERFITTING
    assert judge(history, val_labels=labels(), moving_statistics=True).label == UNDERFITTING


def test_curves_that_fall_together_fit_well(plant):
    """Two curves that fall together and settle with a small gap are not called overfitting."""
    found = verdict(plant, 0.2 + RIGHT, same_for_all(0.28 + RIGHT))
    assert found.label == FITTING_WELL
    assert "close to overfitting" not in found.sentence
    assert found.evidence["onset_epoch"] is None
    assert found.evidence["gap_last"] == pytest.approx(0.08)


def test_stalled_validation_is_close_to_overfitting(plant):
    """A validation loss that stands still while the train loss goes to zero is close to overfitting."""
    found = verdict(plant, RIGHT, same_for_all(0.45 + 0.2 * np.exp(-EPOCHS / 3)))
    assert found.label == FITTING_WELL
    assert "close to overfitting" in found.sentence
    assert 4 <= found.evidence["stalled_since_epoch"] <= 9


@pytest.mark.parametrize("loss", [math.log(2), 0.62])
def test_train_loss_near_guessing_is_underfitting(plant, loss):
    """A head whose train loss stays near that of guessing has not learned, however small its gap."""
    found = verdict(plant, np.full(60, loss), same_for_all(np.full(60, loss)))
    assert found.label == UNDERFITTING
    assert found.evidence["guessing_loss"] == pytest.approx(math.log(2))


def test_guessing_is_measured_by_the_class_shares(plant):
    """With 9 in 10 photos of one class a loss of 0.31 is guessing, far below ln 2 as it is."""
    cross_entropy = same_for_all(np.full(60, 0.31))
    history = plant(np.full(60, 0.31), cross_entropy)
    unequal = (np.arange(N_VAL) % 10 == 0).astype(int)
    assert judge(history, val_labels=unequal).label == UNDERFITTING


def test_still_falling_at_the_end_is_stopped_too_early(plant):
    """Where both losses still fall steeply at the last epoch, the next step is to train longer."""
    falling = 0.69 * np.exp(-EPOCHS / 50)
    found = verdict(plant, falling, same_for_all(falling + 0.02))
    assert found.label == UNDERFITTING
    assert "more epochs" in found.next_step


def test_the_same_rise_is_noise_when_two_photos_make_it(plant):
    """A rise made by two of 80 photos is not called overfitting; the same rise over all photos is."""
    rise = np.clip(EPOCHS - 20, 0, None) * 0.004
    everyone = same_for_all(0.4 + rise)
    two = same_for_all(np.full(60, 0.4))
    two[:, :2] += rise[:, None] * N_VAL / 2
    assert everyone.mean(axis=1) == pytest.approx(two.mean(axis=1))
    assert verdict(plant, RIGHT, everyone).label == OVERFITTING
    noisy = verdict(plant, RIGHT, two)
    assert noisy.label == TOO_NOISY
    assert noisy.evidence["rise_standard_error"] > 0.05


def test_differences_are_paired_by_photo(plant):
    """Photos that differ a lot among themselves, but all rise alike, leave the rise clear."""
    hard = np.random.default_rng(0).uniform(0.05, 1.5, N_VAL)
    rise = np.clip(EPOCHS - 20, 0, None) * 0.004
    assert verdict(plant, RIGHT, hard + rise[:, None]).label == OVERFITTING


def test_rise_of_both_losses_is_not_overfitting(plant):
    """Losses that rise together are an unstable training: the learning rate is to be lowered."""
    both = 0.1 + 0.2 * np.exp(-EPOCHS / 3) + np.clip(EPOCHS - 30, 0, None) * 0.01
    found = verdict(plant, both, same_for_all(both + 0.1))
    assert found.label == TOO_NOISY
    assert "learning rate" in found.next_step


def test_diverging_to_above_guessing_is_underfitting(plant):
    """A training that explodes for train and validation alike ends as underfitting."""
    both = 0.3 + np.exp(EPOCHS / 12) / 10
    assert verdict(plant, both, same_for_all(both)).label == UNDERFITTING


def test_loss_that_is_no_number(plant):
    """A loss that is not a number is named with its epoch, and the evidence stays valid JSON."""
    train = RIGHT.copy()
    train[7:] = np.nan
    found = verdict(plant, train, same_for_all(0.3 + RIGHT))
    assert found.label == UNDERFITTING
    assert "epoch 8" in found.sentence
    json.dumps(found.model_dump(), allow_nan=False)


@pytest.mark.parametrize("n_epochs", [1, 2])
def test_few_epochs_show_nothing(plant, n_epochs):
    """One or two epochs are never judged, whatever they look like."""
    val = np.linspace(0.3, 0.9, n_epochs)
    assert verdict(plant, np.full(n_epochs, 0.2), same_for_all(val)).label == TOO_NOISY


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_constant_low_losses_fit_well(plant, loss):
    """Constant curves have no onset and no rise, also where they lie at zero."""
    found = verdict(plant, np.full(10, loss), same_for_all(np.full(10, loss)))
    assert found.label == FITTING_WELL
    assert found.evidence["rise"] == 0


@pytest.mark.parametrize("n_val", [1, 2, 10])
def test_few_validation_photos_prove_nothing_good(plant, n_val):
    """With under 20 validation photos good curves are no good fit yet, and the evidence is valid JSON."""
    found = verdict(plant, 0.2 + RIGHT, same_for_all(0.22 + RIGHT, n_val))
    assert found.label == TOO_NOISY
    json.dumps(found.model_dump(), allow_nan=False)


def test_overfitting_is_seen_through_the_same_noise(plant):
    """Of 50 trainings as noisy as the healthy ones whose validation loss doubles, at least 45 are found."""
    found = 0
    for seed in range(50):
        rng = np.random.default_rng(seed)
        val = 0.4 + 0.3 * np.exp(-EPOCHS / 3) + np.clip(EPOCHS - 15, 0, None) * 0.01
        jitter = rng.normal(0, 0.05, (60, 1)) + rng.normal(0, 0.1, (60, N_VAL))
        cross_entropy = np.clip(val[:, None] * rng.gamma(1.0, 1.0, N_VAL) * (1 + jitter), 0, None)
        found += verdict(plant, RIGHT, cross_entropy).label == OVERFITTING
    assert found >= 45


def test_foreign_labels_are_refused(plant):
    """Labels of another length, or of a class that is not there, are an error rather than a wrong verdict."""
    history = plant(RIGHT, same_for_all(RIGHT))
    with pytest.raises(ValueError, match="do not belong"):
        judge(history, val_labels=labels(N_VAL - 1))
    with pytest.raises(ValueError, match=r"expected 0\.\.1"):
        judge(history, val_labels=labels() + 1)


def test_healthy_noise_is_seldom_called_overfitting(plant):
    """Of 100 healthy trainings, jittering from epoch to epoch, at most 5 are called overfitting."""
    called = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        hard = rng.gamma(1.0, 1.0, N_VAL)
        jitter = rng.normal(0, 0.05, (60, 1)) + rng.normal(0, 0.1, (60, N_VAL))
        cross_entropy = np.clip((0.35 + RIGHT)[:, None] * hard * (1 + jitter), 0, None)
        called += verdict(plant, 0.25 + RIGHT, cross_entropy).label == OVERFITTING
    assert called <= 5


def test_no_better_than_guessing_is_not_fitting_well(plant):
    """A falling train loss beside guesses is overfitting, or stopped early where validation still falls."""
    train = np.linspace(0.69, 0.35, 40)
    flat = verdict(plant, train, same_for_all(0.69 - 0.005 * np.exp(-np.arange(40))))
    assert flat.label == OVERFITTING
    assert "from the start" in flat.sentence
    falling = verdict(plant, train, same_for_all(np.linspace(0.71, 0.67, 40)))
    assert falling.label == UNDERFITTING
    assert "80" in falling.next_step


@pytest.mark.parametrize(("cross_validated", "says"), [(False, "--folds 5"), (True, "Add photos")])
def test_few_photos_say_how_to_have_more(plant, cross_validated, says):
    """The next step names --folds and --val-fraction, or, where each photo already validates, more photos."""
    history = plant(0.2 + RIGHT, same_for_all(0.28 + RIGHT, n_val=10))
    found = judge(history, val_labels=labels(10), cross_validated=cross_validated)
    assert found.label == TOO_NOISY
    assert says in found.next_step
    assert ("--val-fraction" in found.next_step) == (not cross_validated)


def test_few_photos_say_what_is_certain(plant):
    """Ten photos that still fall: the train loss, the gap, and that training was too short are said all the same."""
    falling = 0.69 * np.exp(-EPOCHS / 50)
    found = verdict(plant, falling, same_for_all(falling + 0.02, n_val=10))
    assert found.label == TOO_NOISY
    assert "was still falling" in found.sentence
    assert f"the train loss is {falling[-1]:.2f}, the gap 0.02" in found.sentence
    assert found.next_step.startswith("Train for more epochs, about 120.")


def test_the_doubt_names_where_the_margin_comes_from(plant):
    """A smooth rise on few photos is doubted for the photos; a jagged one on many, for its jumps."""
    draw = np.random.default_rng(0)
    few = 0.4 + np.clip(EPOCHS - 20, 0, None)[:, None] * draw.normal(0.006, 0.02, 18)
    smooth = verdict(plant, RIGHT, np.clip(few, 0.01, None))
    assert smooth.label == TOO_NOISY
    assert "18 validation photos cannot rule out chance" in smooth.sentence
    jagged = 0.4 + np.where(EPOCHS > 50, 0.06, 0) + draw.normal(0, 0.1, 60)
    jumping = verdict(plant, RIGHT, same_for_all(np.clip(jagged, 0.01, None), n_val=800))
    assert "jumps from epoch to epoch" in jumping.sentence
    assert "cannot rule out" not in jumping.sentence


def test_a_small_clear_rise_is_close_to_overfitting(plant):
    """A rise of 3 % that every photo shares is no chance: it is named, without calling it overfitting."""
    val = 0.5 + 0.2 * np.exp(-EPOCHS / 3) + np.clip(EPOCHS - 40, 0, None) * 0.0008
    found = verdict(plant, 0.3 + RIGHT, same_for_all(val, n_val=800))
    assert found.label == FITTING_WELL
    assert "close to overfitting" in found.sentence
    assert "small but clear rise" in found.sentence


def test_a_hard_task_is_not_underfitting(plant):
    """Both losses settle at 0.58, where guessing costs 0.69: that may be all there is to learn."""
    found = verdict(plant, 0.57 + RIGHT / 6, same_for_all(0.58 + RIGHT / 6, n_val=800))
    assert found.label == FITTING_WELL
    assert "on a hard task" in found.sentence
