"""imgreg runs"""

from __future__ import annotations

from pathlib import Path

import click

from imgreg.cli.flags import json_option, models_option


@click.command("runs")
@click.option(
    "--sort",
    type=click.Choice(["created", "name", "kind", "dataset", "loss", "accuracy", "gap"]),
    default="created",
    show_default=True,
    help="Order: oldest, lowest loss or gap, or highest accuracy first.",
)
@models_option
@json_option
def command(sort: str, models: Path, as_json: bool) -> None:
    """List what is in models/: runs, comparisons, studies, learning curves and the like.

    For each run: its verdict, the validation loss and accuracy of the kept epoch, the gap of the last epoch, and the
    validation loss by epoch as a sparkline. Dates are in UTC.

    \b
    Example:
      imgreg runs
      imgreg runs --sort loss
      imgreg runs --json
    """
    from imgreg.cli.show import print_json, print_result
    from imgreg.reports.terminal.runs import entries_text
    from imgreg.runs.listing import list_entries

    entries, damaged = list_entries(models, sort=sort)
    for folder in damaged:
        click.echo(f"imgreg: {folder}: cannot be read. It is damaged: make it again, or remove it.", err=True)
    if as_json:
        print_json([one.document() for one in entries])
    elif entries:
        print_result(entries_text(entries))
    else:
        click.echo(f"imgreg: nothing under {models} yet. Train a run with: imgreg train data/", err=True)
