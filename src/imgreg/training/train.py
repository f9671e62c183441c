"""Photos and settings in, trained heads out, with all that a run is written from. No files but the cache's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from imgreg.analysis.baselines import Predicted
from imgreg.analysis.sanity_baselines import largest_share, sanity_warnings
from imgreg.config import Settings
from imgreg.errors import DivergedError
from imgreg.heads.checkpoint import forget_checkpoint
from imgreg.reports.tensorboard import LiveEvents
from imgreg.runs.folder import Run
from imgreg.runs.summary import SanityBaseline
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.baselines import baselines_of_split
from imgreg.training.cache import open_cache
from imgreg.training.data_quality import DataQuality, assess_data_quality
from imgreg.training.dataset import Dataset, prepare_dataset
from imgreg.training.fit import Outcome
from imgreg.training.parallel import fit_in_parallel
from imgreg.training.prepare import Prepared, prepare
from imgreg.training.sanity_baselines import sanity_of_run


@dataclass(frozen=True)
class TrainingResult:
    """One trained head with what was found of its photos."""

    dataset: Dataset
    base: Backbone
    prepared: Prepared
    outcome: Outcome
    quality: DataQuality
    sanity_baselines: tuple[SanityBaseline, ...]
    baselines: tuple[Predicted, ...]

    @property
    def settings(self) -> Settings:
        return self.prepared.settings


def train_heads(
    data: Path,
    settings: Sequence[Settings],
    *,
    session: Session,
    sanity_baselines: Sequence[str],
    event_folders: Sequence[Path] = (),
    read_all: bool = False,
) -> list[TrainingResult]:
    """Train a head by each recipe on the same photos, split, seed and features.

    Parameters
    ----------
    settings : sequence of Settings
        They differ in the recipe only. The shuffled-labels baseline trains the first.
    event_folders : sequence of Path
        Folders for TensorBoard's files, one a recipe; empty for none.
    read_all : bool
        Read also the photos that have not changed since they were read last.

    Raises
    ------
    DatasetError
        If the photos cannot be used as a dataset.
    DivergedError
        If a loss became NaN or infinite in the first epoch; later, the outcome says so.
    """
    watcher = session.watcher
    base = Backbone(settings[0].base, watcher=watcher)
    dataset = prepare_dataset(data, settings[0].photos, base=base, session=session, read_all=read_all)
    base.settle()
    split, classes = dataset.split, dataset.index.classes
    with open_cache(session) as cache:
        prepared = [prepare(dataset, base=base, settings=one, cache=cache, watcher=watcher) for one in settings]
        with ExitStack() as written:
            events = [written.enter_context(LiveEvents(folder)) for folder in event_folders]
            outcomes = fit_in_parallel(dataset, prepared, session=session, events=events)
        source = prepared[0].source
        quality = assess_data_quality(split, classes=classes, source=source)
        sanity = sanity_of_run(sanity_baselines, dataset, prepared[0], watcher=watcher)
        baselines = baselines_of_split(split, classes=classes, source=source, watcher=watcher)
    return [
        TrainingResult(dataset, base, one, outcome, quality, sanity, baselines)
        for one, outcome in zip(prepared, outcomes, strict=True)
    ]


def conclude(results: Sequence[TrainingResult], runs: Sequence[Run], *, session: Session) -> None:
    """Forget the checkpoints of written runs, and say what the user must know of them.

    Raises
    ------
    DivergedError
        If a training diverged; its run holds the best epoch before that.
    """
    for result in results:
        forget_checkpoint(result.outcome.checkpoint)
    diverged = [
        f"{run.summary.run}: {result.outcome.diverged} The best epoch before that was kept."
        for result, run in zip(results, runs, strict=True)
        if result.outcome.diverged
    ]
    if diverged:
        raise DivergedError("\n".join(diverged))
    best = max(run.summary.kept.val_accuracy for run in runs)
    share = largest_share(results[0].outcome.val_labels)
    for line in sanity_warnings(results[0].sanity_baselines, accuracy=best, largest_share=share, on="validation"):
        session.watcher.say(line)
