"""imgreg lr-find DATA"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imgreg.cli.flags import Printed
from imgreg.cli.layout import GroupedCommand
from imgreg.cli.options import recipe_option, session_options, settings_options
from imgreg.config import SWEEPS
from imgreg.recipes.settings import build_settings
from imgreg.session import Session


@click.command("lr-find", cls=GroupedCommand)
@click.argument("data", type=click.Path(path_type=Path))
@recipe_option(default="regularized", says="How to build and train the heads.")
@click.option(
    "--sweeps",
    type=click.IntRange(min=1, max=100),
    default=SWEEPS,
    show_default=True,
    metavar="N",
    help="Number of heads whose curves are averaged.",
)
@settings_options
@session_options
def command(
    data: Path,
    recipe: str,
    sweeps: int,
    session: Session,
    **options: Any,
) -> Printed:
    """Find a range of useful learning rates.

    Trains new heads by one batch at each of 140 learning rates from 1e-7 to 1, and suggests the range from the rate at
    which the training loss falls fastest to the rate at which it is lowest. The range is a starting point:
    only training shows which rate gives the lowest validation loss. Writes curve.png and lr_find.json to a folder under
    models/.

    \b
    Example:
      imgreg lr-find data/
      imgreg lr-find data/ --recipe plain --sweeps 10 --json
    """
    from imgreg.api.lr_find import find_learning_rate, learning_rate_document
    from imgreg.reports.terminal.repeats import learning_rate_text

    done = find_learning_rate(data, settings=build_settings(recipe, options), sweeps=sweeps, session=session)
    return (
        lambda: learning_rate_document(done),
        lambda: learning_rate_text(answer=done.answer, notes=done.notes, folder=done.folder),
    )
