"""imgreg runs"""

from __future__ import annotations

from pathlib import Path

import click

from imgreg.cli.flags import json_option, models_option


@click.command("runs")
@models_option
@json_option
def command(models: Path, as_json: bool) -> None:
    """List the runs under models/, oldest first.

    \b
    Example:
      imgreg runs
      imgreg runs --json
    """
    from imgreg.cli.show import print_json, print_result
    from imgreg.reports.terminal.runs import runs_text
    from imgreg.runs.folder import list_runs

    summaries, damaged = list_runs(models)
    for folder in damaged:
        click.echo(f"imgreg: {folder}: unreadable run (its metrics.json is missing or damaged).", err=True)
    if as_json:
        print_json([summary.model_dump(mode="json") for summary in summaries])
    elif summaries:
        print_result(runs_text(summaries))
    else:
        click.echo(f"imgreg: no runs under {models}. Train one with: imgreg train data/", err=True)
