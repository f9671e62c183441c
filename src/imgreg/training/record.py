"""The end of a training: everything about it goes into the run folder."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from imgreg.analysis.baselines import Predicted, baseline_sentence, beside_head, paired_with
from imgreg.analysis.calibration import calibrate
from imgreg.analysis.next_step import most_promising
from imgreg.analysis.notable import notable_photos
from imgreg.analysis.performance import scored_photos
from imgreg.analysis.sanity_baselines import largest_share
from imgreg.analysis.split_duplicates import SplitDuplicates
from imgreg.analysis.suspicions import suspect_result
from imgreg.analysis.verdict import judge
from imgreg.config import CurveStyle, Settings, Training
from imgreg.data import decode as decoding
from imgreg.data.index import labels_of
from imgreg.errors import DatasetError
from imgreg.features.backbone import PREPROCESSINGS
from imgreg.heads.calibration import Calibration
from imgreg.heads.forward import score
from imgreg.heads.plan import plan_head
from imgreg.heads.store import ModelCard, save_head
from imgreg.paths import shared_command, shared_path, shared_text
from imgreg.recipes import overrides_of
from imgreg.recipes.notes import recipe_notes
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
from imgreg.runs.summary import FeatureCounts, RunSummary, SanityBaseline, Scores, Seconds, StoppedEarly, TestScores
from imgreg.training.backbone import Backbone
from imgreg.training.calibration import keep_calibration
from imgreg.training.data_quality import DataQuality
from imgreg.training.dataset import Dataset
from imgreg.training.fit import Outcome
from imgreg.training.layers import layer_summaries, silenced_units
from imgreg.training.run_report import write_run_report
from imgreg.training.saliency_maps import N_MAPS, keep_maps
from imgreg.training.views_sheet import some_of_each_class, views_sheet

_SHEET_PHOTOS, _SHEET_VIEWS = 4, 6  # on the sheet of augmented views
_VERSIONS_OF = ("imgreg", "keras", "tensorflow", "openvino", "albumentations", "pillow", "numpy", "scipy")


def record(
    outcome: Outcome,
    folder: Path,
    target: Path,
    *,
    dataset: Dataset,
    base: Backbone,
    settings: Settings,
    quality: DataQuality,
    sanity_baselines: tuple[SanityBaseline, ...],
    baselines: Sequence[Predicted] = (),
    command: str,
    style: CurveStyle | None = None,
) -> RunSummary:
    """Fill `folder`, which will be called `target`, and give the summary that stands in its metrics.json."""
    summary = _summary(
        outcome,
        target,
        dataset=dataset,
        base=base,
        settings=settings,
        quality=quality,
        sanity_baselines=sanity_baselines,
        baselines=baselines,
        command=command,
    )
    calibration = keep_calibration(
        folder,
        labels=outcome.val_labels,
        probabilities=_held_out(outcome),
        references=quality.references,
        temperature=summary.calibration.temperature if summary.calibration else 1.0,
    )
    card = _card(outcome, dataset=dataset, base=base, settings=settings, calibration=calibration)
    save_head(folder, card=card, heads=outcome.fitted.heads, blocks=outcome.fitted.blocks)
    write_text(folder / "config.toml", tomli_w.dumps(shared_settings(settings)))
    write_json(folder / "environment.json", _environment(dataset, base=base, settings=settings, command=command))
    write_json(folder / "augmentation.json", outcome.augmenter.described)
    skipped = [SkippedRow(dataset.index.relative(bad), bad.reason) for bad in dataset.index.skipped]
    write_split(folder, split=_split_rows(dataset), skipped=skipped)
    write_history(folder, outcome.fitted.history)
    if outcome.test_probabilities is not None:
        write_test_probabilities(folder, outcome.test_probabilities)
    if quality.duplicates.found.any():
        write_text(
            folder / "duplicates.csv",
            rows_to_csv(("val", "train", "cosine"), _duplicate_rows(quality.duplicates, dataset)),
        )
    write_json(folder / "metrics.json", summary.model_dump(mode="json") | {"run": target.name})
    run = read_run(folder, becomes=target)
    if settings.recipe.n_views:
        with contextlib.suppress(DatasetError):  # a photo that went while the head was trained does not cost the head
            views_sheet(
                some_of_each_class(dataset.split.train, n_photos=_SHEET_PHOTOS),
                augmenters={"": outcome.augmenter},
                n_views=min(settings.recipe.n_views, _SHEET_VIEWS),
                size_px=base.image_size,
                target=folder / "views.png",
            )
    scored, mistakes = scored_photos(run), notable_photos(run).mistakes[:N_MAPS]
    answers = scored.probabilities.argmax(axis=1)
    answered = [(row, int(answers[scored.rows.index(row)])) for row in mistakes]
    keep_maps(
        folder,
        run,
        answered,
        base=base.weights,
        plan=card.plan,
        heads=outcome.fitted.heads,
        preprocessing=base.preprocessing,
        blocks=outcome.fitted.blocks,
    )
    write_run_report(folder, run, style=style)
    return summary


def _summary(
    outcome: Outcome,
    target: Path,
    *,
    dataset: Dataset,
    base: Backbone,
    settings: Settings,
    quality: DataQuality,
    sanity_baselines: tuple[SanityBaseline, ...],
    baselines: Sequence[Predicted] = (),
    command: str,
) -> RunSummary:
    history, recipe, split = outcome.fitted.history, settings.recipe, dataset.split
    seconds = Seconds(
        photos=round(dataset.seconds, 3),
        keras=round(outcome.seconds_keras, 3),
        features=round(outcome.seconds_features, 3),
        head=round(outcome.seconds_head, 3),
        total=round(dataset.seconds + outcome.seconds_keras + outcome.seconds_features + outcome.seconds_head, 3),
    )
    beside = tuple(
        beside_head(one, head=history.val_probabilities[history.best.epoch - 1], labels=outcome.val_labels)
        for one in baselines
    )
    warnings = (
        *base.notes,
        *dataset.warnings,
        *recipe_notes(recipe),
        *([outcome.diverged] if outcome.diverged else []),
    )
    correct = _held_out(outcome).argmax(axis=1) == outcome.val_labels
    sanity_baselines = tuple(paired_with(one, head_correct=correct) for one in sanity_baselines)
    calibration = calibrate(outcome.val_labels, _held_out(outcome))
    verdict = judge(
        history,
        val_labels=outcome.val_labels,
        duplicates=quality.duplicates,
        noise=quality.noise,
        cross_validated=bool(split.folds),
    )
    doubts = suspect_result(
        sanity_baselines,
        accuracy=history.best.val_accuracy,
        largest_share=largest_share(outcome.val_labels),
        calibration=calibration,
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
        preprocessing=base.preprocessing,
        engine=base.engine_name,
        precision=base.precision,
        augmentation=shared_path(recipe.augmentation.pipeline or recipe.augmentation.backend),
        n_views=recipe.n_views,
        classes=dataset.index.classes,
        n_train=len(split.train),
        n_val=len(split.val),
        n_test=len(split.test),
        n_folds=len(split.rows) if split.folds else 0,
        n_skipped=len(dataset.index.skipped),
        n_parameters=outcome.fitted.n_parameters,
        epochs_run=len(history.epochs),
        best_epoch=history.best.epoch,
        finetuned_block=recipe.finetune.block if outcome.fitted.finetuned_from else None,
        finetuned_from=outcome.fitted.finetuned_from,
        stopped_early=_stopped_early(outcome, settings.recipe.training),
        best=Scores.of(history.best),
        last=Scores.of(history.last),
        test=_test_scores(outcome, dataset),
        verdict=verdict.model_copy(update={"suspicions": (*verdict.suspicions, *doubts)}),
        seconds=seconds,
        features=FeatureCounts(n_computed=outcome.extraction.n_computed, n_read=outcome.extraction.n_read),
        sanity_baselines=sanity_baselines,
        baselines=beside,
        against_baselines=baseline_sentence(beside, head_loss=history.best.val_loss),
        warnings=tuple(shared_text(line, dataset.index.root) for line in warnings),
        calibration=calibration,
        layers=layer_summaries(outcome.fitted.heads, recorded=history.layers),
        silenced_units=silenced_units(outcome.silenced),
    )
    highest_rate = float(history.column("learning_rate").max())
    next_step = most_promising(summary, data=shared_path(dataset.index.root), learning_rate=highest_rate)
    return summary.model_copy(update={"next_step": next_step})


def _stopped_early(outcome: Outcome, training: Training) -> StoppedEarly | None:
    n_epochs = (outcome.fitted.finetuned_from or len(outcome.fitted.history.epochs) + 1) - 1  # of the head alone
    if outcome.diverged or n_epochs == training.epochs:
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


def _held_out(outcome: Outcome) -> NDArray[np.float32]:
    """(n_val, n_classes) probabilities of the photos that the kept head was not trained on."""
    history = outcome.fitted.history
    return np.asarray(history.val_probabilities[history.best.epoch - 1])


def _card(
    outcome: Outcome, *, dataset: Dataset, base: Backbone, settings: Settings, calibration: Calibration
) -> ModelCard:
    height, width, channels = outcome.feature_shape
    return ModelCard(
        classes=dataset.index.classes,
        weights=_to_find_again(base.weights.source),
        weights_sha256=base.weights.sha256,
        preprocessing=PREPROCESSINGS[base.preprocessing],
        image_size=base.image_size,
        decode_policy=decoding.POLICY,
        engine=base.engine_name,
        precision=base.precision,
        stored=base.stored,
        feature_shape=(height, width, channels),
        plan=plan_head(settings.recipe.head, n_classes=len(dataset.index.classes)),
        n_heads=len(outcome.fitted.heads),
        mirror=settings.recipe.prediction.mirror,
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
    sides = [("train", photo) for photo in split.train] + [("val", photo) for photo in split.val]
    if split.folds:
        sides = [(f"{FOLD}{k + 1}", photo) for k, photo in zip(split.folds, split.train, strict=True)]
    return [
        SplitRow(dataset.index.relative(photo), photo.label, side, photo.sha256)
        for side, photo in (*sides, *(("test", photo) for photo in split.test))
    ]


def _environment(dataset: Dataset, *, base: Backbone, settings: Settings, command: str) -> dict[str, Any]:
    """This machine's own account of the run; what runs.folder.PRIVATE names goes into no file that is shared."""
    pipeline = settings.recipe.augmentation.pipeline
    return {
        "command": command,
        "data": str(dataset.index.root.resolve()),
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
