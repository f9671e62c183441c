"""imgreg evaluate RUN... DATA"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from imgreg.cli.flags import json_option, verbosity_options, vote_option
from imgreg.errors import UsageError


@click.command("evaluate")
@click.argument("targets", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN... DATA")
@click.option(
    "--side", type=click.Choice(["train", "val", "test"]), help="One side of DATA's given split.  [default: all]"
)
@vote_option
@json_option
@verbosity_options
def command(
    targets: tuple[Path, ...],
    side: str | None,
    vote: Literal["mean", "majority"] | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Score a run, or several that vote, on labelled photos.

    DATA is laid out as for train. Every figure is scikit-learn's, with a 95 % interval by bootstrap over the photos.
    Photos that a run was trained on are told: its figures on them say nothing of new photos.

    \b
    Example:
      imgreg evaluate models/first-try new-photos/
      imgreg evaluate models/a models/b models/c data/ --side test --vote majority --json
    """
    *runs, data = targets
    if not runs:
        raise UsageError(f"evaluate: found one path ({data}); expected a run folder, then the photos.")
    if vote and len(runs) < 2:
        raise UsageError("--vote has no effect on one run. Give several runs, or leave --vote out.")
    from imgreg.cli.progress import watching
    from imgreg.cli.show import print_json, print_result

    with watching(quiet=quiet, verbose=verbose) as watcher:
        from imgreg.workflows.evaluate import evaluate, evaluation_document

        done = evaluate(runs, data, side=side, vote=vote, watcher=watcher)
    if as_json:
        print_json(evaluation_document(done))
    elif not quiet:
        from imgreg.reports.terminal.metrics import metrics_text

        print_result(metrics_text(done.metrics, notes=done.notes))
