"""Compare finished runs: a table, and what makes runs not comparable.

In: summaries, or whole runs. Out: rows and sentences. Must not know: how a table is drawn.
One split and one seed show what happened, not what would happen again: photo_effects.py asks of these heads alone
whether one errs less; of the recipes, effects.py.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Sequence
from itertools import count
from typing import Literal

from pydantic import BaseModel, ConfigDict

from imgreg.runs.folder import Run
from imgreg.runs.summary import RunSummary, recipe_label

LEAST_GAP = 0.05  # nats; a share of less is a share of noise
LARGEST_SHARE = 3

_Side = Literal["train", "val", "test"]
_SIDES: tuple[tuple[_Side, str], ...] = (("val", "validated"), ("train", "trained"), ("test", "tested"))


class ComparisonRow(BaseModel):
    """One run in a comparison. Losses are plain cross-entropies in nats, accuracies are between 0 and 1.

    The kept epoch's head answers; the best epoch has the lowest validation loss. A gap is validation minus train
    cross-entropy. `gap_difference` is gap_last less the first run's (the control's), `gap_share` the one as a share of
    the other: None where a share would mislead, see _gap_share.
    """

    model_config = ConfigDict(frozen=True)

    name: str  # what the comparison calls the run, see names_of
    run: str  # its folder
    recipe: str
    overrides: tuple[str, ...]  # see RunSummary
    kept_epoch: int
    epochs_run: int
    kept_val_loss: float
    kept_val_accuracy: float
    best_epoch: int
    best_val_loss: float
    best_val_accuracy: float
    last_val_loss: float
    last_val_accuracy: float
    last_train_loss: float
    gap_kept: float
    gap_last: float
    gap_difference: float
    gap_share: float | None
    n_parameters: int  # trainable, of the head; of a cross-validation's heads together
    verdict: str
    verdict_sentence: str


def comparison_table(runs: Sequence[RunSummary]) -> tuple[ComparisonRow, ...]:
    """A row a run, in the order given; the first run is the control."""
    return tuple(
        ComparisonRow(
            name=name,
            run=run.run,
            recipe=run.recipe,
            overrides=run.overrides,
            kept_epoch=run.kept_epoch,
            epochs_run=run.epochs_run,
            kept_val_loss=run.kept.val_loss,
            kept_val_accuracy=run.kept.val_accuracy,
            best_epoch=run.best_epoch,
            best_val_loss=run.best.val_loss,
            best_val_accuracy=run.best.val_accuracy,
            last_val_loss=run.last.val_loss,
            last_val_accuracy=run.last.val_accuracy,
            last_train_loss=run.last.train_loss,
            gap_kept=run.kept.gap,
            gap_last=run.last.gap,
            gap_difference=run.last.gap - runs[0].last.gap,
            gap_share=_gap_share(run.last.gap, control=runs[0]),
            n_parameters=run.n_parameters,
            verdict=run.verdict.label,
            verdict_sentence=run.verdict.sentence,
        )
        for name, run in zip(names_of(runs), runs, strict=True)
    )


def _gap_share(gap: float, *, control: RunSummary) -> float | None:
    """A gap as a share of the control's; None where either is below 0, where the control's is next to nothing or may
    be chance by its 95 % interval, and for several times the control's: there nats say more."""
    of_control, low = control.last.gap, control.verdict.evidence.get("gap_last_low")
    if of_control < LEAST_GAP or (low is not None and low <= 0) or not 0 <= gap <= LARGEST_SHARE * of_control:
        return None
    return gap / of_control


def names_of(runs: Sequence[RunSummary]) -> tuple[str, ...]:
    """What a comparison calls the runs: by their recipes, with the overrides that not all have, if these names differ;
    else by their own names."""
    shared = set(runs[0].overrides).intersection(*(run.overrides for run in runs)) if runs else set()
    labels = [recipe_label(run.recipe, [one for one in run.overrides if one not in shared]) for run in runs]
    return tuple(labels) if len(set(labels)) == len(runs) else distinct([run.name for run in runs])


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Number namesakes, so that names can be keys.

    >>> distinct(["plain", "plain", "plain (2)"])
    ('plain', 'plain (2)', 'plain (2) (2)')
    """
    taken: dict[str, None] = {}
    for name in names:
        candidates = (name if n == 1 else f"{name} ({n})" for n in count(1))
        taken[next(c for c in candidates if c not in taken)] = None
    return tuple(taken)


def same_conditions(runs: Sequence[Run]) -> tuple[str, ...]:
    """What differs from the first run, besides the recipe's name, a sentence each; empty where all is equal."""
    if not runs:
        return ()
    first = runs[0]
    names = names_of([run.summary for run in runs])
    found: list[str] = []
    for name, run in zip(names[1:], runs[1:], strict=True):
        both = f"{names[0]} and {name}"
        if run.summary.classes != first.summary.classes:
            found.append(
                f"{both} have different classes: {', '.join(first.summary.classes)} and "
                f"{', '.join(run.summary.classes)}."
            )
        for split, done in _SIDES:
            ours, theirs = _photos(first, split=split), _photos(run, split=split)
            if ours != theirs:
                shared = (ours & theirs).total()
                found.append(
                    f"{both} were not {done} on the same photos: {ours.total()} and {theirs.total()}, {shared} in "
                    "common."
                )
        if run.summary.n_folds != first.summary.n_folds:
            found.append(f"{both} were split differently: {_split_words(first)} and {_split_words(run)}.")
        elif _folds(run) != _folds(first):
            found.append(f"{both} assign the photos to different folds.")
        for what, ours_is, theirs_is in (
            ("seeds", first.summary.seed, run.summary.seed),
            ("image sizes", f"{first.summary.image_size} px", f"{run.summary.image_size} px"),
        ):
            if ours_is != theirs_is:
                found.append(f"{both} have different {what}: {ours_is} and {theirs_is}.")
        if run.summary.recipe == first.summary.recipe and (settings := _other_settings(first, run)):
            found.append(
                f"{both} use the same recipe, {run.summary.recipe}, with different settings: {', '.join(settings)}."
            )
        if run.summary.weights_sha256 != first.summary.weights_sha256:
            found.append(
                f"{both} use different VGG16 weights: {first.summary.weights} ({first.summary.weights_sha256[:8]}) "
                f"and {run.summary.weights} ({run.summary.weights_sha256[:8]})."
            )
    return tuple(found)


def _other_settings(first: Run, run: Run) -> list[str]:
    """Settings of two runs' recipes that differ, each with both values; none where a config.toml cannot be read."""
    ours, theirs = _recipe_settings(first), _recipe_settings(run)
    if not ours or not theirs:
        return []
    pairs = {key: (ours.get(key, "not set"), theirs.get(key, "not set")) for key in {**ours, **theirs}}
    return [f"{key} ({a} and {b})" for key, (a, b) in pairs.items() if a != b]


def _recipe_settings(run: Run) -> dict[str, object]:
    try:
        recipe = tomllib.loads(run.config_toml)["recipe"]
        tables = {name: table for name, table in recipe.items() if isinstance(table, dict)}
    except (KeyError, AttributeError, tomllib.TOMLDecodeError):
        return {}
    return {f"{name}.{key}": value for name, table in tables.items() for key, value in table.items()}


def shared_suspicions(runs: Sequence[Run]) -> tuple[str, ...]:
    """Each suspicion about the photos once, in the words of the first run that has it (suspicions.py)."""
    found: dict[tuple[object, ...], str] = {}
    for name, run in zip(names_of([run.summary for run in runs]), runs, strict=True):
        for it in run.summary.verdict.suspicions:
            same = (it.kind, it.evidence.get("n_duplicates"), it.evidence.get("share"))
            found.setdefault(same, f"{name}: {it.sentence} {it.next_step}")
    return tuple(found.values())


def _photos(run: Run, *, split: _Side) -> Counter[tuple[str, str]]:
    """Content and label of each photo in one split; paths do not matter."""
    return Counter((row.sha256, row.label) for row in run.split if row.on(split))


def _split_words(run: Run) -> str:
    n_folds = run.summary.n_folds
    return f"{n_folds}-fold cross-validation" if n_folds else "a single split"


def _folds(run: Run) -> frozenset[frozenset[tuple[str, str]]]:
    """The contents and labels of each fold; none for a single split."""
    together: dict[int, set[tuple[str, str]]] = {}
    for row in run.split if run.summary.n_folds else ():
        if row.on("val"):
            together.setdefault(row.fold, set()).add((row.sha256, row.label))
    return frozenset(map(frozenset, together.values()))
