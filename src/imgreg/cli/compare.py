"""imgreg compare DATA, imgreg compare RUN RUN ..."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imgreg.cli.flags import Printed, tensorboard_option, workers_option
from imgreg.cli.layout import GroupedCommand
from imgreg.cli.options import (
    COMPARED,
    curve_options,
    folds_option,
    given_flags,
    repeats_option,
    sanity_option,
    session_options,
    settings_options,
)
from imgreg.config import CHEAP_BASELINES, Settings
from imgreg.errors import UsageError
from imgreg.recipes.settings import build_settings
from imgreg.runs.find import find_run
from imgreg.session import Session

if TYPE_CHECKING:
    from imgreg.api.compare import Comparison


@click.command("compare", cls=GroupedCommand)
@click.argument("targets", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="DATA | RUN RUN...")
@click.option(
    "--recipes",
    metavar="A,B,...",
    help=f"Recipes to compare; the first is the control.  [default: {','.join(COMPARED)}]",
)
@repeats_option(default=None, says="Number of random splits, the same for every recipe.")
@folds_option
@sanity_option
@settings_options
@curve_options
@tensorboard_option
@workers_option
@session_options
def command(
    targets: tuple[Path, ...],
    recipes: str | None,
    repeats: int | None,
    sanity_baselines: tuple[str, ...],
    tensorboard: bool,
    session: Session,
    **options: Any,
) -> Printed:
    """Train with and without regularization and compare the curves.

    With one DATA folder, trains each recipe on the same split or folds, seed and features. With two or more runs, by
    their names under models/ or their paths, compares these. Writes report.html, its figures as PNG and SVG (one colour
    per run; solid: train, dashed: validation) and a table to a folder under models/.

    With --repeats, every recipe is trained on many splits, as in imgreg study, and paired differences with confidence
    intervals show which recipes helped; no runs are saved. With --folds as well, each repeat tests every photo once.

    \b
    Example:
      imgreg compare data/
      imgreg compare data/ --recipes plain,regularized,mine.toml --epochs 50
      imgreg compare data/ --recipes plain,dropout,l2 --repeats 10
      imgreg compare 20261120-101500-plain 20261120-102000-regularized
    """
    from imgreg.api.compare import compare, compare_runs
    from imgreg.cli.show import printed_study

    runs = _runs(targets, models=session.models)
    if runs:
        own = {"sanity_baselines": sanity_baselines, "tensorboard": tensorboard}
        _refuse_on_runs({"recipes": recipes, "repeats": repeats} | own | options, session=session)
        return _printed(compare_runs(runs, session=session), printed=session.watcher.printed)
    names = [part.strip() for part in (recipes or ",".join(COMPARED)).split(",") if part.strip()]
    settings = _settings(names, repeats, options)
    if repeats is None:
        for option, value in (("--workers", session.workers), ("--ray", session.ray)):
            if value is not None:
                raise UsageError(f"{option} has no effect without --repeats. Omit it, or add --repeats.")
        compared = compare(
            targets[0], settings=settings, session=session, sanity_baselines=sanity_baselines, tensorboard=tensorboard
        )
        return _printed(compared, printed=session.watcher.printed, command=session.command)
    from imgreg.api.study import study
    from imgreg.recipes.topics import StudyPlan

    _refuse_with_repeats(tensorboard=tensorboard, folds=options["folds"])
    plan, folds = StudyPlan(tuple(settings)), options["folds"] or 0
    done = study(targets[0], plan, repeats=repeats, folds=folds, session=session, sanity_baselines=sanity_baselines)
    return printed_study(done, command=session.command, repeats=repeats)


def _runs(targets: tuple[Path, ...], *, models: Path) -> list[Path]:
    """The folders of finished runs, where these are named rather than photos."""
    if len(targets) == 1 and not any((one / "model.json").is_file() for one in (targets[0], models / targets[0])):
        return []
    return [find_run(one, models=models) for one in targets]


def _refuse_on_runs(options: dict[str, Any], *, session: Session) -> None:
    """Runs are finished: an option of training would have no effect."""
    sanity = options["sanity_baselines"]
    given = options | {
        "sanity_baselines": None if sanity == CHEAP_BASELINES else sanity or "none",
        "cache_size": session.cache_bytes,
        "resume": session.resume,
        "no_resume": session.resume is False,
        "workers": session.workers,
        "ray": session.ray,
    }
    if flags := given_flags(given):
        raise UsageError(
            f"{', '.join(flags)}: no effect on finished runs. Give one photo folder to train on, or only runs."
        )


def _refuse_with_repeats(*, tensorboard: bool, folds: int | None) -> None:
    if tensorboard:
        raise UsageError("--tensorboard has no effect with --repeats, which saves no runs.")
    if folds == 1:
        raise UsageError("--folds 1: expected 2 or more.")


def _settings(recipes: list[str], repeats: int | None, options: dict[str, Any]) -> list[Settings]:
    """The settings of each recipe. raises UsageError for ranges of augmentation that no recipe uses"""
    split = options if repeats is None else options | {"folds": None}
    settings = [build_settings(one, split, ranges_where_augmented=True) for one in recipes]
    ranges = options["views"] is not None or any(o.startswith("augmentation.") for o in options["overrides"])
    if ranges and not any(one.recipe.n_views for one in settings):
        raise UsageError(
            "--views and --set augmentation... have no effect: none of the recipes uses augmentation. Omit them, or "
            "add --augment."
        )
    return settings


def _printed(done: Comparison, *, printed: set[str], command: str = "") -> Printed:
    from imgreg.api.compare import comparison_document
    from imgreg.reports.terminal.runs import comparison_text

    return lambda: comparison_document(done), lambda: comparison_text(done, printed=printed, command=command)
