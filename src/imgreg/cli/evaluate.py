"""imgreg evaluate [RUN...] DATA"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Literal

import click

from imgreg.cli.flags import Printed, mirror_option, models_option, result_options, vote_option
from imgreg.cli.run_option import chosen_runs, runs_option
from imgreg.errors import UsageError
from imgreg.paths import shared_command
from imgreg.progress import Watcher


@click.command("evaluate")
@click.argument("targets", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="[RUN...] DATA")
@runs_option
@click.option(
    "--split", type=click.Choice(["train", "val", "test"]), help="Which split of DATA to use.  [default: all]"
)
@click.option("--reason", default="", metavar="TEXT", help="What the scores are for, to record in evaluations.jsonl.")
@vote_option
@mirror_option
@models_option
@result_options
def command(
    targets: tuple[Path, ...],
    runs: tuple[Path, ...],
    split: str | None,
    reason: str,
    vote: Literal["mean", "majority"] | None,
    mirror: bool | None,
    models: Path,
    watcher: Watcher,
) -> Printed:
    """Score one run, or a voting ensemble, on labelled photos.

    RUN is a name under models/ or a path, here or after --run; by default the newest run. DATA has the same layout as
    for train. The metrics are scikit-learn's, with 95 % bootstrap intervals over the photos.

    Warns if DATA overlaps the training set: scores on those photos say nothing about new ones. Scores on other photos
    are recorded in evaluations.jsonl under models/, and a note says how many different runs the same photos have
    scored: the best of several scores is optimistic.

    \b
    Example:
      imgreg evaluate new-photos/
      imgreg evaluate first-try new-photos/
      imgreg evaluate a b c data/ --split test --vote majority --json
    """
    *named, data = targets
    named = [*named, *runs]
    if not named and any((folder / "model.json").is_file() for folder in (data, models / data)):
        raise UsageError(f"{data} is a run. Add the photos: imgreg evaluate {data} DATA.")
    if vote and len(named) < 2:
        raise UsageError("--vote has no effect on a single run. Give several runs, or omit --vote.")
    from imgreg.api.classifier import load_classifier
    from imgreg.api.evaluate import evaluate, evaluation_document
    from imgreg.reports.terminal.metrics import metrics_text

    chosen = chosen_runs(named, models=models, watcher=watcher)
    command = shared_command(shlex.join(["imgreg", *sys.argv[1:]]))
    classifier = load_classifier(chosen, vote=vote, mirror=mirror, watcher=watcher)
    done = evaluate(classifier, data, split=split, reason=reason, command=command, watcher=watcher)
    return lambda: evaluation_document(done), lambda: metrics_text(done.metrics, notes=done.notes)
