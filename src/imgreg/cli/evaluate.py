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
    "--split", type=click.Choice(["train", "val", "test"]), help="Which split of DATA to use.  [default: all]"
)
@vote_option
@json_option
@verbosity_options
def command(
    targets: tuple[Path, ...],
    split: str | None,
    vote: Literal["mean", "majority"] | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Score one run, or a voting ensemble, on labelled photos.

    DATA has the same layout as for train. Metrics are computed by scikit-learn, with 95 % bootstrap intervals over the
    photos.
    Warns if DATA overlaps the training set: scores on those photos say nothing about new ones.

    \b
    Example:
      imgreg evaluate models/first-try new-photos/
      imgreg evaluate models/a models/b models/c data/ --split test --vote majority --json
    """
    *runs, data = targets
    if not runs:
        raise UsageError(f"evaluate: found one path ({data}), expected a run folder followed by the photos.")
    if vote and len(runs) < 2:
        raise UsageError("--vote has no effect on a single run. Give several runs, or omit --vote.")
    from imgreg.cli.progress import watching
    from imgreg.cli.show import print_json, print_result

    with watching(quiet=quiet, verbose=verbose) as watcher:
        from imgreg.api.evaluate import evaluate, evaluation_document

        done = evaluate(runs, data, split=split, vote=vote, watcher=watcher)
    if as_json:
        print_json(evaluation_document(done))
    elif not quiet:
        from imgreg.reports.terminal.metrics import metrics_text

        print_result(metrics_text(done.metrics, notes=done.notes))
