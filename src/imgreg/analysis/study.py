"""A repeated comparison as a ranked table: each recipe's figures over the repeats, and its effect against the control.

In: trials, one a recipe and repeat. Out: rows and sentences. Knows nothing of how heads are trained or rows drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import numpy as np
from pydantic import BaseModel, ConfigDict

from imgreg.analysis.effects import Effect, paired_effects
from imgreg.heads.forward import majority, score
from imgreg.runs.trial import Trial

SHOWN = 8  # recipes named in a sentence


class StudyRow(BaseModel):
    """One recipe over all repeats; means. `effect` compares its test loss with the control's, None for the control.

    test figures   of the epoch that validation chose; gap_last is validation less train loss after the last epoch
    """

    model_config = ConfigDict(frozen=True)

    recipe: str
    test_loss: float
    test_accuracy: float
    best_epoch: float
    gap_last: float
    n_parameters: int | None = None  # trainable, of the head; None for a study of an older imgreg
    effect: Effect | None
    error_effect: Effect | None  # in the share of test photos answered wrong
    gap_effect: Effect | None


class StudyTable(BaseModel):
    """All recipes, the lowest mean test loss first."""

    model_config = ConfigDict(frozen=True)

    control: str
    n_repeats: int
    n_train: float
    n_test: float
    rows: tuple[StudyRow, ...]


def study_table(trials: Mapping[str, Sequence[Trial]], *, n_parameters: Mapping[str, int] | None = None) -> StudyTable:
    """Rank recipes by mean test loss; the first is the control.

    Parameters
    ----------
    trials : mapping
        Recipe -> its trials, the same repeats in the same order for every recipe; two or more.
    n_parameters : mapping, optional
        Recipe -> trainable parameters of its head.

    Raises
    ------
    ValueError
        If the recipes were not scored on the same photos.
    """
    control, *others = trials
    for name in others:
        if [c.test_labels for c in trials[name]] != [c.test_labels for c in trials[control]]:
            raise ValueError(f"{name} and {control} were not scored on the same photos")
    n_train, n_test = fmean(c.n_train for c in trials[control]), fmean(len(c.test_labels) for c in trials[control])

    def effects(what: str, figure: Callable[[Trial], float]) -> dict[str, Effect]:
        figures = {name: [figure(trial) for trial in row] for name, row in trials.items()}
        return {e.name: e for e in paired_effects(figures, n_train=n_train, n_test=n_test, what=what)}

    of_loss = effects("test loss", lambda trial: trial.test_loss)
    of_error = effects("test error", lambda trial: 1 - trial.test_accuracy)
    of_gap = effects("the last gap", lambda trial: trial.gap_last)
    rows = [
        StudyRow(
            recipe=name,
            test_loss=fmean(c.test_loss for c in row),
            test_accuracy=fmean(c.test_accuracy for c in row),
            best_epoch=fmean(c.best_epoch for c in row),
            gap_last=fmean(c.gap_last for c in row),
            n_parameters=(n_parameters or {}).get(name),
            effect=of_loss.get(name),
            error_effect=of_error.get(name),
            gap_effect=of_gap.get(name),
        )
        for name, row in trials.items()
    ]
    rows.sort(key=lambda row: row.test_loss)
    return StudyTable(control=control, n_repeats=len(trials[control]), n_train=n_train, n_test=n_test, rows=tuple(rows))


def study_answer(table: StudyTable) -> tuple[str, ...]:
    """The study in a few sentences: what helped, what shrank the gap, what hurt, what is undecided, and how large a
    difference the repeats can detect."""
    compared = [row for row in table.rows if row.effect is not None]
    helped, hurt, same, unclear = (
        [row for row in compared if row.effect is not None and row.effect.word == word]
        for word in ("helped", "hurt", "no difference that matters", "not enough data")
    )
    lines = [row.effect.sentence for row in helped if row.effect is not None]
    if not lines:
        lines.append(f"No recipe clearly helped: none has a test loss clearly below {table.control}'s.")
    control = next(row for row in table.rows if row.recipe == table.control)
    closed = [row for row in compared if row.gap_effect is not None and row.gap_effect.high < 0]
    if closed:
        closed.sort(key=lambda row: row.gap_last)
        lines.append(
            f"Smaller train-validation gap after the last epoch than {table.control}'s {control.gap_last:.2f} "
            "(individual 95 % intervals): " + some([f"{row.recipe} {row.gap_last:.2f}" for row in closed]) + "."
        )
    if hurt:
        lines.append(f"Hurt: {some([row.recipe for row in hurt])}.")
    if same:
        names = some([row.recipe for row in same])
        lines.append(f"No meaningful difference (within 10 % of {table.control}'s loss): {names}.")
    nearly = [row for row in unclear if row.effect is not None and (row.effect.low > 0 or row.effect.high < 0)]
    if nearly:
        names = some([f"{row.recipe} ({'better' if row.effect.mean < 0 else 'worse'})" for row in nearly if row.effect])
        lines.append(
            f"Significant individually, but not after correction for {len(compared)} comparisons: {names}. More "
            "repeats may decide it."
        )
    if rest := [row for row in unclear if row not in nearly]:
        sizes = [row.effect.detectable for row in rest if row.effect is not None]
        size = f"{min(sizes):.2f}" if len(sizes) == 1 else f"{min(sizes):.2f} to {max(sizes):.2f}"
        lines.append(
            f"Not enough data to tell: {some([row.recipe for row in rest])}; this many repeats can detect a "
            f"difference of {size}."
        )
    return tuple(lines)


def is_open(table: StudyTable) -> bool:
    """Whether the repeats do not decide for some recipe whether it differs from the control."""
    return any(row.effect is not None and row.effect.word == "not enough data" for row in table.rows)


def voted(name: str, voters: Sequence[Trial]) -> Trial:
    """What the mean of several heads' probabilities gives on one repeat, as a trial.

    The loss is that of the mean; the answer counted right or wrong is the one most heads give, the mean among equals.
    The curves are the means of the heads' own.
    """
    probabilities = np.array([trial.test_probabilities for trial in voters])
    mean = probabilities.mean(axis=0)
    labels = np.array(voters[0].test_labels)
    loss, _ = score(mean, labels)
    answers = majority(probabilities)
    n_epochs = min(len(trial.val_losses) for trial in voters)
    return voters[0].model_copy(
        update={
            "recipe": name,
            "best_epoch": round(fmean(trial.best_epoch for trial in voters)),
            "best_val_loss": fmean(trial.best_val_loss for trial in voters),
            "test_loss": loss,
            "test_accuracy": float((answers == labels).mean()),
            "train_losses": tuple(np.mean([trial.train_losses[:n_epochs] for trial in voters], axis=0).tolist()),
            "val_losses": tuple(np.mean([trial.val_losses[:n_epochs] for trial in voters], axis=0).tolist()),
            "test_probabilities": tuple(map(tuple, mean.tolist())),
        }
    )


def searched(name: str, candidates: Sequence[Trial]) -> Trial:
    """The candidate with the lowest validation loss of one repeat: its test figures never took part in the choice."""
    return min(candidates, key=lambda trial: trial.best_val_loss).model_copy(update={"recipe": name})


def some(names: Sequence[str]) -> str:
    """All of a few names; of many the first, and how many others."""
    shown = names if len(names) <= SHOWN else names[: SHOWN - 1]
    return ", ".join(shown) + ("" if len(shown) == len(names) else f" and {len(names) - len(shown)} others")
