"""imgreg report RUN"""

from __future__ import annotations

from pathlib import Path

import click

from imgreg.cli.flags import json_option, verbosity_options
from imgreg.cli.options import curve_options
from imgreg.config import CurveStyle


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path, file_okay=False))
@click.option("--open", "and_open", is_flag=True, help="Open the report in the browser.")
@curve_options
@json_option
@verbosity_options
def command(run: Path, and_open: bool, style: CurveStyle | None, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Rebuild a run's report.

    RUN is the folder of a run, a comparison or a study, also of an older imgreg version. Rebuilds report.html and its
    figures from the contents of the folder; nothing is trained, and TensorFlow is not needed.

    \b
    Example:
      imgreg report models/first-try --open
      imgreg report models/first-try --log-epochs --smooth 2 --ylim :1
    """
    from imgreg.cli.progress import watching
    from imgreg.cli.show import print_json

    with watching(quiet=quiet, verbose=verbose) as watcher:
        from imgreg.api.report import rebuild_report

        watcher.step("drawing", 0, 1, "")
        written = rebuild_report(run, style=style)
        watcher.step("drawing", 1, 1, "")
    if as_json:
        print_json({"report": str(written)})
    elif not quiet:
        click.echo(str(written))
    if and_open and click.launch(str(written)) != 0:
        click.echo(f"imgreg: could not start a browser. Open {written} yourself.", err=True)
