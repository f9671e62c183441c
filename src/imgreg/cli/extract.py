"""imgreg extract DATA"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imgreg.cli.flags import workers_option
from imgreg.cli.layout import GroupedCommand
from imgreg.cli.options import Printed, recipe_option, session_options, settings_options
from imgreg.recipes.settings import build_settings
from imgreg.session import Session


@click.command("extract", cls=GroupedCommand)
@click.argument("data", type=click.Path(path_type=Path))
@recipe_option(default="regularized", says="Recipe whose features are wanted: its augmented views, its seed.")
@settings_options
@workers_option
@session_options
def command(data: Path, recipe: str, session: Session, **options: Any) -> Printed:
    """Compute the features of photos, for later commands.

    Runs the frozen VGG16 on every photo and its augmented views and keeps the features in the cache. train, study and
    the others do so by themselves; this does it ahead, with --ray on many machines. Features that are in the cache are
    not computed again, so an interrupted command resumes.

    \b
    Example:
      imgreg extract data/
      imgreg extract data/ --ray auto
    """
    from imgreg.api.extract import extract_features

    done = extract_features(data, settings=build_settings(recipe, options), session=session)
    return done.document, done.text
