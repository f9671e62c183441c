"""A training's result as the values of a run: its summary, split, settings and environment."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w

from imgreg.analysis.baselines import baseline_sentence, beside_head, paired_with
from imgreg.analysis.calibration import calibrate
from imgreg.analysis.next_step import most_promising
from imgreg.analysis.sanity_baselines import largest_share
from imgreg.analysis.suspicions import suspect_result
from imgreg.analysis.verdict import judge
from imgreg.config import Settings, Training
from imgreg.data.index import labels_of
from imgreg.heads.batch_norm import uses_moving_statistics
from imgreg.heads.forward import score
from imgreg.paths import shared_command, shared_path, shared_text
from imgreg.recipes import overrides_of
from imgreg.recipes.notes import recipe_notes
from imgreg.runs.earlier import earlier_findings
from imgreg.runs.folder import FOLD, Run, SkippedRow, SplitRow
from imgreg.runs.summary import (
    CalibrationScores,
    FeatureCounts,
    RunSummary,
    SanityBaseline,
    Scores,
    Seconds,
    StoppedEarly,
    TestScores,
    Verdict,
)
from imgreg.training.backbone import Backbone
from imgreg.training.dataset import Dataset
from imgreg.training.fit import Outcome
from imgreg.training.layers import layer_summaries, silenced_units
from imgreg.training.train import TrainingResult

_VERSIONS_OF = ("imgreg", "keras", "tensorflow", "openvino", "albumentations", "pillow", "numpy", "scipy")


def run_of(result: TrainingResult, target: Path, *, command: str) -> Run:
    """The run of a training, as values.

    Parameters
    ----------
    target : Path
        Where its folder will be.
    command : str
        The command line, for the record.
    """
    index = result.dataset.index
    return Run(
        folder=target,
        summary=_summary(result, target, command=command),
        history=result.outcome.fitted.history,
        split=tuple(_split_rows(result.dataset)),
        skipped=tuple(SkippedRow(index.relative(bad), bad.reason) for bad in index.skipped),
        config_toml=tomli_w.dumps(shared_settings(result.settings)),
        environment=_environment(result, command=command),
        test_probabilities=result.outcome.test_probabilities,
    )


def _summary(result: TrainingResult, target: Path, *, command: str) -> RunSummary:
    outcome, settings = result.outcome, result.settings
    calibration = calibrate(outcome.val_labels, outcome.val_probabilities)
    correct = outcome.val_probabilities.argmax(axis=1) == outcome.val_labels
    paired = tuple(paired_with(one, head_correct=correct) for one in result.sanity_baselines)
    summary = RunSummary(
        run=str(target),
        name=target.name,
        recipe=settings.recipe.name,
        overrides=overrides_of(settings.recipe),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        command=shared_command(command),
        seed=settings.seed,
        augmentation=shared_path(settings.recipe.augmentation.pipeline or settings.recipe.augmentation.backend),
        n_views=settings.recipe.n_views,
        **_of_backbone(result.base),
        **_of_photos(result.dataset),
        **_of_head(result),
        **_of_baselines(result),
        verdict=_verdict(result, paired, calibration),
        sanity_baselines=paired,
        seconds=_seconds(result),
        features=FeatureCounts(
            n_computed=result.prepared.extraction.n_computed, n_read=result.prepared.extraction.n_read
        ),
        warnings=_warnings(result),
        calibration=calibration,
    )
    highest_rate = float(outcome.fitted.history.column("learning_rate").max())
    index = result.dataset.index
    next_step = most_promising(
        summary,
        data=shared_path(index.root),
        learning_rate=highest_rate,
        earlier=earlier_findings(target.parent, dataset=index.digest),
    )
    return summary.model_copy(update={"next_step": next_step})


def _of_backbone(base: Backbone) -> dict[str, Any]:
    return {
        "weights": base.weights.name,
        "weights_sha256": base.weights.sha256,
        "weights_note": shared_text(base.weights.note),
        "image_size": base.image_size,
        "preprocessing": base.preprocessing,
        "engine": base.engine_name,
        "precision": base.precision,
    }


def _of_photos(dataset: Dataset) -> dict[str, Any]:
    split = dataset.split
    return {
        "classes": dataset.index.classes,
        "n_train": len(split.train),
        "n_val": len(split.val),
        "n_test": len(split.test),
        "n_folds": len(split.rows) if split.folds else 0,
        "n_skipped": len(dataset.index.skipped),
    }


def _of_head(result: TrainingResult) -> dict[str, Any]:
    outcome, recipe = result.outcome, result.settings.recipe
    fitted, history = outcome.fitted, outcome.fitted.history
    return {
        "n_parameters": fitted.n_parameters,
        "epochs_run": len(history.epochs),
        "best_epoch": history.best.epoch,
        "kept_epoch": history.kept.epoch,
        "finetuned_block": recipe.finetune.block if fitted.finetuned_from else None,
        "finetuned_from": fitted.finetuned_from,
        "stopped_early": _stopped_early(outcome, recipe.training),
        "best": Scores.of(history.best),
        "kept": Scores.of(history.kept),
        "last": Scores.of(history.last),
        "test": _test_scores(outcome, result.dataset),
        "layers": layer_summaries(fitted.heads, recorded=history.layers),
        "silenced_units": silenced_units(outcome.silenced),
    }


def _verdict(
    result: TrainingResult, sanity_baselines: Sequence[SanityBaseline], calibration: CalibrationScores
) -> Verdict:
    """What the curves show, with every suspicion."""
    outcome, quality = result.outcome, result.quality
    verdict = judge(
        outcome.fitted.history,
        val_labels=outcome.val_labels,
        duplicates=quality.duplicates,
        noise=quality.noise,
        cross_validated=bool(result.dataset.split.folds),
        moving_statistics=uses_moving_statistics(result.settings.recipe.head),
    )
    doubts = suspect_result(
        sanity_baselines,
        accuracy=outcome.fitted.history.kept.val_accuracy,
        largest_share=largest_share(outcome.val_labels),
        calibration=calibration,
    )
    return verdict.model_copy(update={"suspicions": (*verdict.suspicions, *doubts)})


def _of_baselines(result: TrainingResult) -> dict[str, Any]:
    outcome = result.outcome
    compared = tuple(
        beside_head(one, head=outcome.val_probabilities, labels=outcome.val_labels) for one in result.baselines
    )
    return {
        "baselines": compared,
        "against_baselines": baseline_sentence(compared, head_loss=outcome.fitted.history.kept.val_loss),
    }


def _seconds(result: TrainingResult) -> Seconds:
    prepared, photos, head = result.prepared, result.dataset.seconds, result.outcome.seconds_head
    return Seconds(
        photos=round(photos, 3),
        keras=round(prepared.seconds_keras, 3),
        features=round(prepared.seconds_features, 3),
        head=round(head, 3),
        total=round(photos + prepared.seconds_keras + prepared.seconds_features + head, 3),
    )


def _warnings(result: TrainingResult) -> tuple[str, ...]:
    outcome, dataset = result.outcome, result.dataset
    found = (
        *result.base.notes,
        *dataset.warnings,
        *recipe_notes(result.settings.recipe),
        *filter(None, [outcome.diverged, outcome.fitted.warning]),
    )
    return tuple(shared_text(line, dataset.index.root) for line in found)


def _stopped_early(outcome: Outcome, training: Training) -> StoppedEarly | None:
    n_epochs = (outcome.fitted.finetuned_from or len(outcome.fitted.history.epochs) + 1) - 1  # of the head alone
    if outcome.diverged or n_epochs == training.epochs or not training.patience_epochs:  # a callback stopped it
        return None
    return StoppedEarly(
        epoch=n_epochs,
        max_epochs=training.epochs,
        patience_epochs=training.patience_epochs,
        min_delta=training.min_delta,
    )


def _test_scores(outcome: Outcome, dataset: Dataset) -> TestScores | None:
    if outcome.test_probabilities is None:
        return None
    labels = labels_of(dataset.split.test, dataset.index.classes)
    loss, accuracy = score(outcome.test_probabilities, labels)
    return TestScores(n_photos=len(labels), loss=loss, accuracy=accuracy)


def shared_settings(settings: Settings) -> dict[str, Any]:
    """The settings as config.toml holds them, with the paths of files as a shared file names them."""
    table = settings.rendered()
    table["base"]["weights"] = shared_path(settings.base.weights)
    if pipeline := settings.recipe.augmentation.pipeline:
        table["recipe"]["augmentation"]["pipeline"] = shared_path(pipeline)
    return table


def _split_rows(dataset: Dataset) -> list[SplitRow]:
    split = dataset.split
    placed = [("train", photo) for photo in split.train] + [("val", photo) for photo in split.val]
    if split.folds:
        placed = [(f"{FOLD}{k + 1}", photo) for k, photo in zip(split.folds, split.train, strict=True)]
    return [
        SplitRow(dataset.index.relative(photo), photo.label, name, photo.sha256)
        for name, photo in (*placed, *(("test", photo) for photo in split.test))
    ]


def _environment(result: TrainingResult, *, command: str) -> dict[str, Any]:
    """This machine's own account of the run; what runs.folder.PRIVATE names goes into no file that is shared."""
    pipeline = result.settings.recipe.augmentation.pipeline
    return {
        "command": command,
        "data": str(result.dataset.index.root.resolve()),
        "weights": str(result.base.weights.path.resolve()),
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
