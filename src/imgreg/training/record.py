"""Write the results of a training into its run folder."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

from imgreg.analysis.baselines import baseline_sentence, beside_head, paired_with
from imgreg.analysis.calibration import calibrate
from imgreg.analysis.next_step import most_promising
from imgreg.analysis.notable import notable_photos
from imgreg.analysis.performance import scored_photos
from imgreg.analysis.sanity_baselines import largest_share
from imgreg.analysis.split_duplicates import SplitDuplicates
from imgreg.analysis.suspicions import suspect_result
from imgreg.analysis.verdict import judge
from imgreg.config import Settings, Training
from imgreg.data import decode as decoding
from imgreg.data.index import labels_of
from imgreg.errors import DatasetError
from imgreg.features.backbone import PREPROCESSINGS
from imgreg.features.stored import stored_shape
from imgreg.heads.batch_norm import uses_moving_statistics
from imgreg.heads.calibration import Calibration
from imgreg.heads.forward import score
from imgreg.heads.plan import plan_head
from imgreg.heads.store import ModelCard, load_card, save_head
from imgreg.paths import shared_command, shared_path, shared_text
from imgreg.recipes import overrides_of
from imgreg.recipes.notes import recipe_notes
from imgreg.runs.earlier import earlier_findings
from imgreg.runs.evaluations import write_evaluation
from imgreg.runs.folder import (
    FOLD,
    Run,
    SkippedRow,
    SplitRow,
    rows_to_csv,
    write_json,
    write_run,
    write_text,
)
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
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.calibration import keep_calibration
from imgreg.training.dataset import Dataset
from imgreg.training.fit import Outcome
from imgreg.training.layers import layer_summaries, silenced_units
from imgreg.training.run_report import write_run_report
from imgreg.training.saliency_maps import N_MAPS, keep_maps
from imgreg.training.train import TrainingResult
from imgreg.training.views_sheet import some_of_each_class, views_sheet

_SHEET_PHOTOS, _SHEET_VIEWS = 4, 6  # on the sheet of augmented views
_VERSIONS_OF = ("imgreg", "keras", "tensorflow", "openvino", "albumentations", "pillow", "numpy", "scipy")


def record(result: TrainingResult, folder: Path, *, target: Path, session: Session) -> Run:
    """Write a run with its report and pictures.

    Parameters
    ----------
    folder : Path
        The folder to fill, which will be called `target`.
    session : Session
        Its command line and curve style are used.

    Returns
    -------
    Run
        What `read_run` gives of the finished folder.
    """
    outcome, dataset = result.outcome, result.dataset
    run = record_figures(result, folder, target=target, command=session.command)
    write_json(folder / "augmentation.json", result.prepared.augmenter.described)
    duplicates = result.quality.duplicates
    if duplicates.found.any():
        rows = _duplicate_rows(duplicates, dataset)
        write_text(folder / "duplicates.csv", rows_to_csv(("val", "train", "cosine"), rows))
    if n_views := result.settings.recipe.n_views:
        with contextlib.suppress(DatasetError):  # a photo deleted during the training does not cost the head
            views_sheet(
                some_of_each_class(dataset.split.train, n_photos=_SHEET_PHOTOS),
                augmenters={"": result.prepared.augmenter},
                n_views=min(n_views, _SHEET_VIEWS),
                target=folder / "views.png",
            )
    scored, mistakes = scored_photos(run), notable_photos(run).mistakes[:N_MAPS]
    answers = scored.probabilities.argmax(axis=1)
    answered = [(row, int(answers[scored.rows.index(row)])) for row in mistakes]
    plan = load_card(folder).plan
    keep_maps(folder, run, answered, base=result.base, plan=plan, fitted=outcome.fitted)
    write_run_report(folder, run, style=session.style)
    return run


def record_figures(result: TrainingResult, folder: Path, *, target: Path, command: str) -> Run:
    """Write what a run is read from: the head, its calibration, the tables and metrics.json."""
    outcome, run = result.outcome, run_of(result, target, command=command)
    calibration = keep_calibration(
        folder,
        labels=outcome.val_labels,
        probabilities=outcome.val_probabilities,
        references=result.quality.references,
        temperature=run.summary.calibration.temperature if run.summary.calibration else 1.0,
    )
    save_head(folder, card=_card(result, calibration), heads=outcome.fitted.heads, blocks=outcome.fitted.blocks)
    run = _with_count(run, head_sha256=load_card(folder).head_sha256)
    write_run(folder, run)
    return run


def _with_count(run: Run, *, head_sha256: str) -> Run:
    """The run with the number of runs that its test photos have scored. That they scored this one is recorded."""
    test = run.summary.test
    if test is None:
        return run
    n_runs = write_evaluation(
        run.folder.parent,
        photos=[row.sha256 for row in run.split if row.on("test")],
        runs=[run.summary.name],
        heads=[head_sha256],
        command=run.summary.command,
    )
    test = test.model_copy(update={"n_runs_scored": n_runs})
    return replace(run, summary=run.summary.model_copy(update={"test": test}))


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


def _card(result: TrainingResult, calibration: Calibration) -> ModelCard:
    base, recipe, classes = result.base, result.settings.recipe, result.dataset.index.classes
    return ModelCard(
        classes=classes,
        weights=_to_find_again(base.weights.source),
        weights_sha256=base.weights.sha256,
        preprocessing=PREPROCESSINGS[base.preprocessing],
        image_size=base.image_size,
        decode_policy=decoding.POLICY,
        engine=base.engine_name,
        precision=base.precision,
        stored=base.stored,
        feature_shape=stored_shape(base.image_size, base.stored),
        plan=plan_head(recipe.head, n_classes=len(classes)),
        n_heads=len(result.outcome.fitted.heads),
        mirror=recipe.prediction.mirror,
        calibration=calibration,
    )


def _to_find_again(source: str) -> str:
    """The weights as model.json names them: predict must find them, so a path outside the home folder stays whole."""
    shared = shared_path(source)
    return shared if shared.startswith("~/") else source


def _duplicate_rows(duplicates: SplitDuplicates, dataset: Dataset) -> list[tuple[str, str, float]]:
    """Validation photos that have a duplicate, with it, the most alike first."""
    index, split = dataset.index, dataset.split
    rows = sorted(np.flatnonzero(duplicates.found), key=lambda row: -duplicates.similarity[row])
    return [
        (
            index.relative(split.val[row]),
            index.relative(split.train[duplicates.nearest[row]]),
            round(float(duplicates.similarity[row]), 4),
        )
        for row in rows
    ]


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
