"""imgreg study DATA"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imgreg.cli.flags import Printed, workers_option
from imgreg.cli.layout import GroupedCommand
from imgreg.cli.options import (
    curve_options,
    repeat_folds_option,
    repeats_option,
    sanity_option,
    session_options,
    settings_options,
)
from imgreg.session import Session


@click.command("study", cls=GroupedCommand)
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--topic",
    "topics",
    metavar="A,B,...",
    default="ladder",
    show_default=True,
    help="What to compare: ladder (regularization techniques added one by one), capacity, weights, dropout, "
    "normalization, initializer, activation, schedule, augmentation, all.",
)
@repeats_option(default=5, says="Number of random splits, the same for every recipe.")
@repeat_folds_option()
@curve_options
@sanity_option
@settings_options
@workers_option
@session_options
def command(
    data: Path,
    topics: str,
    repeats: int,
    folds: int | None,
    sanity_baselines: tuple[str, ...],
    session: Session,
    **options: Any,
) -> Printed:
    """Compare regularization techniques on your photos: what helps, and how sure is it?

    Trains every recipe on the same repeated splits as the control, plain; the epoch is chosen on validation photos and
    scored on test photos. Features are computed only once. An interrupted study resumes when the same command is run
    again. Writes a ranked table, forest.png (paired effects with 95 % intervals), curves.png and report.html to a
    folder under models/.

    \b
    Example:
      imgreg study data/
      imgreg study data/ --topic weights,dropout --repeats 10 --epochs 50
      imgreg study data/ --topic all --json > study.json
    """
    from imgreg.api.study import study
    from imgreg.cli.show import printed_study
    from imgreg.recipes.topics import plan_study

    plan = plan_study([part.strip() for part in topics.split(",") if part.strip()], options)
    done = study(data, plan, repeats=repeats, folds=folds or 0, session=session, sanity_baselines=sanity_baselines)
    return printed_study(done, command=session.command, repeats=repeats)
