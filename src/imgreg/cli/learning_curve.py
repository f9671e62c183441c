"""imgreg learning-curve DATA"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imgreg.cli.flags import Printed, workers_option
from imgreg.cli.layout import GroupedCommand
from imgreg.cli.options import recipe_option, repeats_option, session_options, settings_options
from imgreg.recipes.settings import build_settings
from imgreg.session import Session


@click.command("learning-curve", cls=GroupedCommand)
@click.argument("data", type=click.Path(path_type=Path))
@recipe_option(default="regularized", says="How to build and train the heads.")
@repeats_option(default=5, says="Number of random splits.", at_least=2)
@click.option(
    "--more",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    metavar="N",
    help="Number of additional train photos to extrapolate to.",
)
@settings_options
@workers_option
@session_options
def command(
    data: Path,
    recipe: str,
    repeats: int,
    more: int,
    session: Session,
    **options: Any,
) -> Printed:
    """Estimate the gain from more training photos.

    Trains heads on all train photos, half of them, a quarter and so on, scores each on the same test photos, and fits
    a power law to predict, with a 95 % interval, the score with --more additional photos. Features are computed only
    once, and an interrupted command resumes where it stopped. Writes curve.png, a table and report.html to a folder
    under models/.

    \b
    Example:
      imgreg learning-curve data/
      imgreg learning-curve data/ --more 1000 --repeats 10 --json
    """
    from imgreg.api.learning_curve import find_learning_curve, learning_curve_document
    from imgreg.reports.terminal.repeats import learning_curve_text

    done = find_learning_curve(
        data, settings=build_settings(recipe, options), repeats=repeats, more=more, session=session
    )
    return (
        lambda: learning_curve_document(done),
        lambda: learning_curve_text(done.error, done.loss, answer=done.answer, notes=done.notes, folder=done.folder),
    )
