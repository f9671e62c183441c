"""imgreg report [RUN]"""

from __future__ import annotations

from pathlib import Path

import click

from imgreg.cli.flags import json_option, models_option, verbosity_options
from imgreg.cli.options import curve_options
from imgreg.cli.run_option import one_of, run_argument, run_option
from imgreg.config import CurveStyle


@click.command("report")
@run_argument
@run_option
@click.option("--open", "and_open", is_flag=True, help="Open the report in the browser.")
@curve_options
@models_option
@json_option
@verbosity_options
def command(
    named: Path | None,
    run: Path | None,
    and_open: bool,
    style: CurveStyle | None,
    models: Path,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Rebuild a report, and open it with --open.

    RUN is a run, a comparison, a study or a tuning, also of an older imgreg version, by its name under models/ or its
    path; by default the newest run. Rebuilds report.html and its figures from the contents of the folder; nothing is
    trained, and TensorFlow is not needed.

    \b
    Example:
      imgreg report --open
      imgreg report first-try --log-epochs --smooth 2 --ylim :1
    """
    from imgreg.cli.progress import watching
    from imgreg.cli.show import print_json

    with watching(quiet=quiet, verbose=verbose) as watcher:
        from imgreg.api.report import rebuild_report
        from imgreg.runs.find import LAST, find_folder

        folder = find_folder(next(iter(one_of(named, run)), Path(LAST)), models=models)
        watcher.step("drawing", 0, 1, "")
        written = rebuild_report(folder, style=style)
        watcher.step("drawing", 1, 1, "")
    if as_json:
        print_json({"report": str(written)})
    elif not quiet:
        click.echo(str(written))
    if and_open and click.launch(str(written)) != 0:
        click.echo(f"imgreg: could not start a browser. Open {written} yourself.", err=True)
