"""imgreg train: photos in, one run folder out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

from imgreg.analysis.sanity_baselines import largest_share, sanity_warnings
from imgreg.config import CHEAP_BASELINES, CurveStyle, Settings
from imgreg.errors import DivergedError
from imgreg.features.cache import FeatureCache
from imgreg.heads.checkpoint import forget_checkpoint
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.reports.tensorboard import LiveEvents, write_events
from imgreg.runs.checksums import write_sums
from imgreg.runs.folder import atomic_folder, read_run
from imgreg.runs.names import checked_name, unused_name
from imgreg.runs.summary import RunSummary
from imgreg.training.backbone import Backbone
from imgreg.training.baselines import baselines_of_split
from imgreg.training.data_quality import assess_data_quality
from imgreg.training.dataset import prepare_dataset, refuse_writing_inside
from imgreg.training.fit import Outcome, fit_on, prepare
from imgreg.training.record import record
from imgreg.training.sanity_baselines import sanity_of_run


def train(
    data: Path,
    *,
    settings: Settings,
    models: Path,
    name: str | None = None,
    command: str = "",
    cache_bytes: int | None = None,
    sanity_baselines: Sequence[str] = CHEAP_BASELINES,
    tensorboard: bool = False,
    resume: bool | None = None,
    read_all: bool = False,
    style: CurveStyle | None = None,
    watcher: Watcher | None = None,
) -> RunSummary:
    """Train one head and write its run folder, whole or not at all.

    data          a folder of class folders, of split folders, or a CSV manifest
    models        where the run folder goes; `name` is its name, by default time and recipe
    command       how the user asked for it, for the record
    cache_bytes   room for kept features; None for the usual 20 GB
    sanity_baselines   what is run beside the head, see config.SANITY_BASELINES
    tensorboard   write event files into the run's tensorboard/, epoch by epoch while it trains; until the run is
                  whole its folder is called .NAME.partial
    resume        go on with an interrupted training of the same photos and settings: None if there is one; True, and
                  tell if there is none; False never. The head comes out the same, to the bit
    read_all      read also those photos that are known to be the same
    style         how the curves are drawn
    raises        ImgregError's children, each for a thing the user can mend; DivergedError after the run was written,
                  if a loss was no longer a number: it holds the best epoch before that, if there was one
    """
    watcher = watcher or Watcher()
    refuse_writing_inside(data, models)
    target = models / checked_name(name or unused_name(models, settings.recipe.name))
    with atomic_folder(target) as folder:
        base = Backbone(settings.base, watcher=watcher)
        dataset = prepare_dataset(
            data, settings.photos, base=base, cache_bytes=cache_bytes, read_all=read_all, watcher=watcher
        )
        base.settle()
        with FeatureCache(cache_folder(), say=watcher.say, limit_bytes=cache_bytes) as cache:
            prepared = prepare(dataset, base=base, settings=settings, cache=cache, watcher=watcher)
            with LiveEvents(folder) if tensorboard else nullcontext() as events:
                outcome = fit_on(dataset, prepared, resume=resume, watcher=watcher, events=events)
            quality = assess_data_quality(dataset.split, classes=dataset.index.classes, source=prepared.source)
            beside = sanity_of_run(sanity_baselines, dataset, prepared, watcher=watcher)
            baselines = baselines_of_split(
                dataset.split, classes=dataset.index.classes, source=prepared.source, watcher=watcher
            )
        watcher.step("drawing the report", 0, 1, "")
        summary = record(
            outcome,
            folder,
            target,
            dataset=dataset,
            base=base,
            settings=settings,
            quality=quality,
            sanity_baselines=beside,
            baselines=baselines,
            command=command,
            style=style,
        )
        watcher.step("drawing the report", 1, 1, "")
        if tensorboard:
            write_events(folder, read_run(folder, becomes=target), live=True)
        write_sums(folder)
    forget_checkpoint(outcome.checkpoint)
    refuse_diverged({summary.run: outcome})
    share = largest_share(outcome.val_labels)
    for line in sanity_warnings(beside, accuracy=summary.best.val_accuracy, largest_share=share, on="validation"):
        watcher.say(line)
    return summary


def refuse_diverged(outcomes: Mapping[str, Outcome]) -> None:
    """Told when everything is written: runs whose training came apart hold the best epoch before it.

    outcomes   a run's folder -> what its training gave
    raises     DivergedError if one of them came apart
    """
    told = [f"{run}: {it.diverged} The best epoch before that was kept." for run, it in outcomes.items() if it.diverged]
    if told:
        raise DivergedError("\n".join(told))
