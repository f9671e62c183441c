"""Write the results of a training into its run folder."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from imgreg.analysis.notable import notable_photos
from imgreg.analysis.performance import scored_photos
from imgreg.analysis.split_duplicates import SplitDuplicates
from imgreg.data import decode as decoding
from imgreg.errors import DatasetError
from imgreg.features.backbone import PREPROCESSINGS
from imgreg.features.stored import stored_shape
from imgreg.heads.calibration import Calibration
from imgreg.heads.network import Network
from imgreg.heads.plan import plan_head
from imgreg.heads.store import ModelCard, load_card, save_head
from imgreg.paths import shared_path
from imgreg.runs.evaluations import write_evaluation
from imgreg.runs.folder import Run, rows_to_csv, write_json, write_run, write_text
from imgreg.session import Session
from imgreg.training.calibration import keep_calibration
from imgreg.training.dataset import Dataset
from imgreg.training.run_report import write_run_report
from imgreg.training.run_values import run_of
from imgreg.training.saliency_maps import N_MAPS, keep_maps
from imgreg.training.train import TrainingResult
from imgreg.training.views_sheet import some_of_each_class, views_sheet

_SHEET_PHOTOS, _SHEET_VIEWS = 4, 6  # on the sheet of augmented views


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
    base, fitted = result.base, outcome.fitted
    network = Network(base.weights, load_card(folder).plan, fitted.heads, fitted.blocks, base.preprocessing)
    keep_maps(folder, run, answered, network=network)
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
