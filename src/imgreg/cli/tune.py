"""imgreg tune DATA"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from imgreg.cli.flags import Printed, workers_option
from imgreg.cli.layout import GroupedCommand
from imgreg.cli.options import recipe_option, session_options, settings_options, tuning_options
from imgreg.recipes.settings import build_settings, tuning_from
from imgreg.session import Session

_SECONDS = {"h": 3600, "m": 60, "s": 1}


def _seconds(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    seconds = sum(int(n or 0) * _SECONDS[unit] for n, unit in zip(parts.groups(), "hms", strict=True)) if parts else 0
    if not seconds:
        raise click.BadParameter(f"found {text!r}, expected a time, e.g. 90s, 20m or 1h30m.")
    return float(seconds)


@click.command("tune", cls=GroupedCommand)
@click.argument("data", type=click.Path(path_type=Path))
@recipe_option(default="regularized", says="The recipe to begin with, which is the first trial.")
@tuning_options
@click.option(
    "--time",
    "seconds",
    metavar="TIME",
    callback=_seconds,
    help="End the searches after this time, e.g. 20m or 1h30m, with the trials finished by then.",
)
@click.option(
    "--space",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="What to vary, and in which ranges.  [default: learning rate, dropout, L2, units, pool, normalization, label "
    "smoothing, augmentation]",
)
@settings_options
@workers_option
@session_options
def command(
    data: Path,
    recipe: str,
    space: Path | None,
    session: Session,
    **options: Any,
) -> Printed:
    """Search for a better recipe, and measure what the search is worth.

    The lowest loss of many recipes is optimistic, because it was chosen for being low. So each outer fold has a search
    of its own, and the recipe it picks is scored on photos that this search never saw, beside the default recipe. A
    last search on all photos gives the final recipe, best.toml, with which a run is trained. An interrupted search
    resumes when the same command is run again.

    \b
    Example:
      imgreg tune data/
      imgreg tune data/ --trials 30 --time 20m
      imgreg tune data/ --space mine.toml --folds 5
    """
    from imgreg.api.tune import tune, tune_document
    from imgreg.recipes.search_space import DEFAULT_SPACE, load_space
    from imgreg.reports.terminal.tune import tune_text

    tuning, others = tuning_from(options)
    done = tune(
        data,
        settings=build_settings(recipe, others),
        space=load_space(space or DEFAULT_SPACE),
        tuning=tuning,
        session=session,
    )
    return (
        lambda: tune_document(done),
        lambda: tune_text(
            done.nested,
            outer=done.outer,
            answer=done.answer,
            notes=done.notes,
            folder=done.folder,
            run=done.run,
            train_command=done.train_command,
        ),
    )
