"""The optimizer by its settings, and the learning rate of each step by its schedule. Imports Keras when called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imgreg.config import Optimizer

PLATEAU_LEAST = 1e-4  # a smaller fall of the validation loss is none, as in Keras' ReduceLROnPlateau


def build_optimizer(settings: Optimizer, *, variables: Sequence[Any]) -> Any:
    """A keras.optimizers.Optimizer for these variables. AdamW decays kernels only, neither biases nor gamma and beta.

    source   AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101
    """
    import keras

    rate = settings.learning_rate
    of_adam = {"beta_1": settings.beta_1, "beta_2": settings.beta_2, "epsilon": settings.epsilon}
    if settings.name == "adamw":
        optimizer = keras.optimizers.AdamW(learning_rate=rate, weight_decay=settings.weight_decay, **of_adam)
        optimizer.exclude_from_weight_decay(var_list=[v for v in variables if v.name != "kernel"])
    elif settings.name == "rmsprop":
        optimizer = keras.optimizers.RMSprop(learning_rate=rate, momentum=settings.momentum)
    elif settings.name == "sgd":
        optimizer = keras.optimizers.SGD(learning_rate=rate, momentum=settings.momentum)
    elif settings.name == "ftrl":
        optimizer = keras.optimizers.Ftrl(learning_rate=rate)
    else:
        optimizer = keras.optimizers.Adam(learning_rate=rate, **of_adam)
    # Summing gradients over replicas (there is one) goes through tf.custom_gradient, which keeps each compiled graph,
    # and with it a head's variables, for the life of the process: 28 MB a head, gigabytes a study.
    optimizer._all_reduce_sum_gradients = list
    optimizer.build(variables)
    return optimizer


def epoch_rates(settings: Optimizer, *, epoch: int, n_steps: int, val_losses: Sequence[float]) -> NDArray[np.float32]:
    """The learning rate of each step of an epoch, by Keras' own schedules.

    settings     with decay_epochs, as Recipe.schedule gives them
    epoch        counted from 1
    n_steps      gradient steps in each epoch
    val_losses   of the epochs before, which reduce_on_plateau looks at
    returns      (n_steps,) float32
    source       warm-up: Goyal et al. 2017, arXiv:1706.02677; restarts: Loshchilov & Hutter 2017, arXiv:1608.03983
    """
    decay_epochs = settings.decay_epochs or 1.0  # Recipe.schedule fills it in; a constant rate has none
    steps = np.arange((epoch - 1) * n_steps, epoch * n_steps, dtype=np.float32)
    n_warm = settings.warmup_epochs * n_steps
    after = _scheduled(settings, np.maximum(steps - n_warm, 0), decay_steps=decay_epochs * n_steps)
    if settings.schedule == "reduce_on_plateau":
        after = after * plateau_factor(val_losses, patience_epochs=decay_epochs, factor=settings.decay_rate)
    risen = np.minimum((steps + 1) / n_warm, 1) if n_warm else np.ones(n_steps)
    return (after * risen).astype(np.float32)


def plateau_factor(val_losses: Sequence[float], *, patience_epochs: float, factor: float) -> float:
    """What is left of the learning rate after these epochs, as keras.callbacks.ReduceLROnPlateau counts.

    >>> plateau_factor([0.9, 0.8, 0.8, 0.8], patience_epochs=2, factor=0.5)
    0.5
    """
    best, n_waited, left = np.inf, 0, 1.0
    for loss in val_losses:
        if loss < best - PLATEAU_LEAST:
            best, n_waited = loss, 0
        else:
            n_waited += 1
        if n_waited >= patience_epochs:
            left, n_waited = left * factor, 0
    return left


def _scheduled(settings: Optimizer, steps: NDArray[np.float32], *, decay_steps: float) -> NDArray[np.float32]:
    from keras.optimizers import schedules

    rate = settings.learning_rate
    if settings.schedule == "inverse_time":
        schedule = schedules.InverseTimeDecay(rate, decay_steps, settings.decay_rate)
    elif settings.schedule == "exponential":
        schedule = schedules.ExponentialDecay(rate, decay_steps, settings.decay_rate)
    elif settings.schedule == "cosine":
        schedule = schedules.CosineDecay(rate, decay_steps, alpha=settings.alpha)
    elif settings.schedule == "cosine_restarts":
        schedule = schedules.CosineDecayRestarts(rate, decay_steps, alpha=settings.alpha)
        return np.array([schedule(step) for step in steps], dtype=np.float32)  # it takes a step at a time
    else:
        return np.full(len(steps), rate, dtype=np.float32)
    return np.asarray(schedule(steps), dtype=np.float32)
