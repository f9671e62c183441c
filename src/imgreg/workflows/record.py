"""The end of a training: everything about it goes into the run folder."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from imgreg.analysis.baselines import Predicted, baseline_sentence, beside_head
from imgreg.analysis.calibration import calibrate
from imgreg.analysis.controls import control_warnings, largest_share
from imgreg.analysis.next_step import most_promising
from imgreg.analysis.notable import notable_photos
from imgreg.analysis.performance import scored_photos
from imgreg.analysis.twins import Twins
from imgreg.analysis.verdict import judge
from imgreg.config import Settings, Training
from imgreg.errors import DatasetError
from imgreg.features.extract import Extraction
from imgreg.heads.calibration import Calibration
from imgreg.heads.fit import FittedHead
from imgreg.heads.forward import score
from imgreg.heads.plan import plan_head
from imgreg.heads.store import ModelCard, save_head
from imgreg.photos import decode as decoding
from imgreg.photos.augment import Augmenter
from imgreg.photos.index import labels_of
from imgreg.places import shared_command, shared_path, shared_text
from imgreg.recipes import overrides_of
from imgreg.runs.folder import (
    FOLD,
    SkippedRow,
    SplitRow,
    read_run,
    rows_to_csv,
    write_history,
    write_json,
    write_split,
    write_test_probabilities,
    write_text,
)
from imgreg.runs.summary import Control, FeatureCounts, RunSummary, Scores, Seconds, StoppedEarly, TestScores
from imgreg.workflows.base import FrozenBase
from imgreg.workflows.doubts import Doubts
from imgreg.workflows.explain import N_MAPS, keep_maps
from imgreg.workflows.kept_calibration import keep_calibration
from imgreg.workflows.prepare import Ground
from imgreg.workflows.preview import some_of_each_class, views_sheet
from imgreg.workflows.run_report import write_run_report

_SHEET_PHOTOS, _SHEET_VIEWS = 4, 6  # on the sheet of augmented views
_VERSIONS_OF = ("imgreg", "keras", "tensorflow", "openvino", "albumentations", "pillow", "numpy", "scipy")


@dataclass(frozen=True)
class Outcome:
    """What a training gave."""

    fitted: FittedHead
    diverged: str  # why training ended before its time, where a loss was no longer a number
    checkpoint: Path  # of no use once the run is written
    extraction: Extraction
    feature_shape: tuple[int, ...]
    test_probabilities: NDArray[np.float32] | None  # (n_test, n_classes), by the kept head
    val_labels: NDArray[np.int64]
    augmenter: Augmenter
    seconds_keras: float
    seconds_features: float
    seconds_head: float


def record(
    outcome: Outcome,
    folder: Path,
    target: Path,
    *,
    ground: Ground,
    base: FrozenBase,
    settings: Settings,
    doubts: Doubts,
    controls: tuple[Control, ...],
    baselines: Sequence[Predicted] = (),
    command: str,
) -> RunSummary:
    """Fill `folder`, which will be called `target`, and give the summary that stands in its metrics.json."""
    summary = _summary(
        outcome,
        target,
        ground=ground,
        base=base,
        settings=settings,
        doubts=doubts,
        controls=controls,
        baselines=baselines,
        command=command,
    )
    calibration = keep_calibration(
        folder,
        labels=outcome.val_labels,
        probabilities=_held_out(outcome),
        references=doubts.references,
        temperature=summary.calibration.temperature if summary.calibration else 1.0,
    )
    card = _card(outcome, ground=ground, base=base, settings=settings, calibration=calibration)
    save_head(folder, card=card, heads=outcome.fitted.heads)
    write_text(folder / "config.toml", tomli_w.dumps(shared_settings(settings)))
    write_json(folder / "environment.json", _environment(ground, base=base, settings=settings, command=command))
    write_json(folder / "augmentation.json", outcome.augmenter.described)
    skipped = [SkippedRow(ground.index.relative(bad), bad.reason) for bad in ground.index.skipped]
    write_split(folder, split=_split_rows(ground), skipped=skipped)
    write_history(folder, outcome.fitted.history)
    if outcome.test_probabilities is not None:
        write_test_probabilities(folder, outcome.test_probabilities)
    if doubts.twins.found.any():
        write_text(folder / "twins.csv", rows_to_csv(("val", "train", "cosine"), _twin_rows(doubts.twins, ground)))
    write_json(folder / "metrics.json", summary.model_dump(mode="json") | {"run": target.name})
    run = read_run(folder, becomes=target)
    if settings.recipe.n_views:
        with contextlib.suppress(DatasetError):  # a photo that went while the head was trained does not cost the head
            views_sheet(
                some_of_each_class(ground.split.train, n_photos=_SHEET_PHOTOS),
                augmenters={"": outcome.augmenter},
                n_views=min(settings.recipe.n_views, _SHEET_VIEWS),
                size_px=base.image_size,
                target=folder / "views.png",
            )
    scored, mistakes = scored_photos(run), notable_photos(run).mistakes[:N_MAPS]
    answers = scored.probabilities.argmax(axis=1)
    answered = [(row, int(answers[scored.rows.index(row)])) for row in mistakes]
    keep_maps(folder, run, answered, base=base.weights, plan=card.plan, heads=outcome.fitted.heads)
    write_run_report(folder, run)
    return summary


def _summary(
    outcome: Outcome,
    target: Path,
    *,
    ground: Ground,
    base: FrozenBase,
    settings: Settings,
    doubts: Doubts,
    controls: tuple[Control, ...],
    baselines: Sequence[Predicted] = (),
    command: str,
) -> RunSummary:
    history, recipe, split = outcome.fitted.history, settings.recipe, ground.split
    seconds = Seconds(
        photos=round(ground.seconds, 3),
        keras=round(outcome.seconds_keras, 3),
        features=round(outcome.seconds_features, 3),
        head=round(outcome.seconds_head, 3),
        total=round(ground.seconds + outcome.seconds_keras + outcome.seconds_features + outcome.seconds_head, 3),
    )
    beside = tuple(
        beside_head(one, head=history.val_probabilities[history.best.epoch - 1], labels=outcome.val_labels)
        for one in baselines
    )
    warnings = (
        *base.notes,
        *ground.warnings,
        *([outcome.diverged] if outcome.diverged else []),
        *control_warnings(
            controls,
            accuracy=history.best.val_accuracy,
            largest_share=largest_share(outcome.val_labels),
            on="validation",
        ),
    )
    summary = RunSummary(
        run=str(target),
        name=target.name,
        recipe=recipe.name,
        overrides=overrides_of(recipe),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        command=shared_command(command),
        seed=settings.seed,
        weights=base.weights.name,
        weights_sha256=base.weights.sha256,
        weights_note=shared_text(base.weights.note),
        image_size=base.image_size,
        engine=base.engine_name,
        precision=base.precision,
        augmentation=shared_path(recipe.augmentation.pipeline or recipe.augmentation.backend),
        n_views=recipe.n_views,
        classes=ground.index.classes,
        n_train=len(split.train),
        n_val=len(split.val),
        n_test=len(split.test),
        n_folds=len(split.rows) if split.folds else 0,
        n_skipped=len(ground.index.skipped),
        n_parameters=outcome.fitted.n_parameters,
        epochs_run=len(history.epochs),
        best_epoch=history.best.epoch,
        stopped_early=_stopped_early(outcome, settings.recipe.training),
        best=Scores.of(history.best),
        last=Scores.of(history.last),
        test=_test_scores(outcome, ground),
        verdict=judge(
            history,
            val_labels=outcome.val_labels,
            twins=doubts.twins,
            noise=doubts.noise,
            cross_validated=bool(split.folds),
        ),
        seconds=seconds,
        features=FeatureCounts(n_computed=outcome.extraction.n_computed, n_read=outcome.extraction.n_read),
        controls=controls,
        baselines=beside,
        against_baselines=baseline_sentence(beside, head_loss=history.best.val_loss),
        warnings=tuple(shared_text(line, ground.index.root) for line in warnings),
        calibration=calibrate(outcome.val_labels, _held_out(outcome)),
    )
    highest_rate = float(history.column("learning_rate").max())
    next_step = most_promising(summary, data=shared_path(ground.index.root), learning_rate=highest_rate)
    return summary.model_copy(update={"next_step": next_step})


def _stopped_early(outcome: Outcome, training: Training) -> StoppedEarly | None:
    n_epochs = len(outcome.fitted.history.epochs)
    if outcome.diverged or n_epochs == training.epochs:
        return None
    return StoppedEarly(
        epoch=n_epochs,
        max_epochs=training.epochs,
        patience_epochs=training.patience_epochs,
        min_delta=training.min_delta,
    )


def _test_scores(outcome: Outcome, ground: Ground) -> TestScores | None:
    if outcome.test_probabilities is None:
        return None
    labels = labels_of(ground.split.test, ground.index.classes)
    loss, accuracy = score(outcome.test_probabilities, labels)
    return TestScores(n_photos=len(labels), loss=loss, accuracy=accuracy)


def shared_settings(settings: Settings) -> dict[str, Any]:
    """The settings as config.toml holds them, with the paths of files as a shared file names them."""
    table = settings.rendered()
    table["base"]["weights"] = shared_path(settings.base.weights)
    if pipeline := settings.recipe.augmentation.pipeline:
        table["recipe"]["augmentation"]["pipeline"] = shared_path(pipeline)
    return table


def _held_out(outcome: Outcome) -> NDArray[np.float32]:
    """(n_val, n_classes) probabilities of the photos that the kept head was not trained on."""
    history = outcome.fitted.history
    return np.asarray(history.val_probabilities[history.best.epoch - 1])


def _card(
    outcome: Outcome, *, ground: Ground, base: FrozenBase, settings: Settings, calibration: Calibration
) -> ModelCard:
    height, width, channels = outcome.feature_shape
    return ModelCard(
        classes=ground.index.classes,
        weights=_to_find_again(base.weights.source),
        weights_sha256=base.weights.sha256,
        image_size=base.image_size,
        decode_policy=decoding.POLICY,
        engine=base.engine_name,
        precision=base.precision,
        stored=base.stored,
        feature_shape=(height, width, channels),
        plan=plan_head(settings.recipe.head, n_classes=len(ground.index.classes)),
        n_heads=len(outcome.fitted.heads),
        mirror=settings.recipe.prediction.mirror,
        calibration=calibration,
    )


def _to_find_again(source: str) -> str:
    """The weights as model.json names them: predict must find them, so a path outside the home folder stays whole."""
    shared = shared_path(source)
    return shared if shared.startswith("~/") else source


def _twin_rows(twins: Twins, ground: Ground) -> list[tuple[str, str, float]]:
    """Validation photos that have a twin, with it, the most alike first."""
    index, split = ground.index, ground.split
    rows = sorted(np.flatnonzero(twins.found), key=lambda row: -twins.similarity[row])
    return [
        (
            index.relative(split.val[row]),
            index.relative(split.train[twins.nearest[row]]),
            round(float(twins.similarity[row]), 4),
        )
        for row in rows
    ]


def _split_rows(ground: Ground) -> list[SplitRow]:
    split = ground.split
    sides = [("train", photo) for photo in split.train] + [("val", photo) for photo in split.val]
    if split.folds:
        sides = [(f"{FOLD}{k + 1}", photo) for k, photo in zip(split.folds, split.train, strict=True)]
    return [
        SplitRow(ground.index.relative(photo), photo.label, side, photo.sha256)
        for side, photo in (*sides, *(("test", photo) for photo in split.test))
    ]


def _environment(ground: Ground, *, base: FrozenBase, settings: Settings, command: str) -> dict[str, Any]:
    """This machine's own account of the run; what runs.folder.PRIVATE names goes into no file that is shared."""
    pipeline = settings.recipe.augmentation.pipeline
    return {
        "command": command,
        "data": str(ground.index.root.resolve()),
        "weights": str(base.weights.path.resolve()),
        "pipeline": str(Path(pipeline).resolve()) if pipeline else None,
        **environment_now(),
    }


def environment_now() -> dict[str, Any]:
    """The machine and the versions on which results depend."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "n_cpus": os.cpu_count(),
        "versions": {name: _version(name) for name in _VERSIONS_OF},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # OpenVINO, on a platform that it is not made for
        return None
