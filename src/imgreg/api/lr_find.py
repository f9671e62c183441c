"""imgreg lr-find: the training loss over a growing learning rate, and which rates are worth trying."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from imgreg.analysis.lr_find import LearningRateCurve, learning_rate_answer
from imgreg.config import Settings
from imgreg.data.stores import as_typed
from imgreg.paths import shared_command, shared_text
from imgreg.runs.folder import write_json
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.cache import open_cache
from imgreg.training.dataset import prepare_dataset
from imgreg.training.learning_rates import sweep_rates
from imgreg.training.new_folder import new_folder
from imgreg.training.prepare import prepare


@dataclass(frozen=True)
class LearningRateResult:
    """A finished search. `folder` holds curve.png, curve.svg and lr_find.json."""

    folder: Path
    curve: LearningRateCurve
    answer: tuple[str, ...]
    notes: tuple[str, ...]


def find_learning_rate(data: Path, *, settings: Settings, sweeps: int, session: Session) -> LearningRateResult:
    """Train new heads for some steps each while the learning rate grows, and read off a range of useful rates.

    Parameters
    ----------
    sweeps : int
        Number of heads, each with its own initial weights and order of photos; their mean curve is read.

    Raises
    ------
    DatasetError
        If the photos cannot be used as a dataset.
    """
    watcher = session.watcher
    with new_folder(session, data=data, kind="lr-find") as (folder, target):
        base = Backbone(settings.base, watcher=watcher)
        dataset = prepare_dataset(data, settings.photos, base=base, session=session)
        base.settle()
        with open_cache(session) as cache:
            prepared = prepare(dataset, base=base, settings=settings, cache=cache, watcher=watcher)
            curve = sweep_rates(prepared, dataset.split.train, sweeps=sweeps, watcher=watcher)
        done = LearningRateResult(
            folder=target,
            curve=curve,
            answer=learning_rate_answer(
                curve,
                current=settings.recipe.optimizer.learning_rate,
                command=f"imgreg train {shlex.quote(as_typed(data))} --recipe {shlex.quote(settings.recipe.name)}",
            ),
            notes=dataset.warnings,
        )
        _write(folder, done, settings=settings, data=data, command=session.command)
    return done


def learning_rate_document(done: LearningRateResult) -> dict[str, object]:
    """What lr-find --json prints."""
    return {
        "lr_find": str(done.folder),
        "answer": list(done.answer),
        "notes": list(done.notes),
        "suggested": done.curve.suggested,
        **done.curve.model_dump(mode="json"),
    }


def _write(folder: Path, done: LearningRateResult, *, settings: Settings, data: Path, command: str) -> None:
    from imgreg.reports.lr_find import learning_rate_figure

    shared = {
        "lr_find": done.folder.name,
        "answer": [shared_text(line, data) for line in done.answer],
        "notes": [shared_text(line, data) for line in done.notes],
        "recipe": settings.recipe.name,
        "command": shared_command(command),
    }
    write_json(folder / "lr_find.json", learning_rate_document(done) | shared)
    current = settings.recipe.optimizer.learning_rate
    learning_rate_figure(done.curve, marked={f"the recipe's rate, {current:g}": current}, target=folder / "curve.png")
