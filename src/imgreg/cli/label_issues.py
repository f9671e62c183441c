"""imgreg label-issues DATA"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imgreg.cli.flags import Printed, workers_option
from imgreg.cli.layout import GroupedCommand
from imgreg.cli.options import recipe_option, repeat_folds_option, repeats_option, session_options, settings_options
from imgreg.config import LABEL_FOLDS, LABEL_RECIPE, LABEL_REPEATS
from imgreg.recipes.settings import build_settings
from imgreg.session import Session


@click.command("label-issues", cls=GroupedCommand)
@click.argument("data", type=click.Path(path_type=Path))
@recipe_option(default=LABEL_RECIPE, says="How to build and train the heads.")
@repeats_option(default=LABEL_REPEATS, says="Number of cross-validations, each with other folds.")
@repeat_folds_option(default=LABEL_FOLDS)
@settings_options
@workers_option
@session_options
def command(
    data: Path,
    recipe: str,
    repeats: int,
    folds: int,
    session: Session,
    **options: Any,
) -> Printed:
    """Rank the photos that are probably mislabelled.

    Trains heads in cross-validation, so that each photo is scored by heads that never saw it, and ranks the photos by
    the probability of their own label, lowest first. Also reports how each photo fared in the heads that trained on
    it: learned, memorized (correct only where it was trained on), never learned, and how often it was forgotten.
    Writes to a folder under models/: report.html, where doubtful labels can be kept, changed or dropped and the
    corrected dataset saved as a manifest for train; label_issues.csv, all photos ranked; and sheet.png. DATA is not
    modified.

    \b
    Example:
      imgreg label-issues data/
      imgreg label-issues data/ --repeats 1 --json > label_issues.json
    """
    from imgreg.api.label_issues import find_label_issues, label_issues_document
    from imgreg.reports.terminal.repeats import label_issues_text

    done = find_label_issues(
        data, settings=build_settings(recipe, options), repeats=repeats, folds=folds, session=session
    )
    return (
        lambda: label_issues_document(done),
        lambda: label_issues_text(
            done.table, paths=done.paths, answer=done.answer, notes=done.notes, folder=done.folder
        ),
    )
