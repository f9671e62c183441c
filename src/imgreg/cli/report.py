"""imgreg report [RUN]"""

from __future__ import annotations

from pathlib import Path

import click

from imgreg.cli.flags import Printed, models_option, result_options
from imgreg.cli.options import curve_options
from imgreg.cli.run_option import one_of, run_argument, run_option
from imgreg.config import CurveStyle
from imgreg.progress import Watcher


@click.command("report")
@run_argument
@run_option
@click.option("--open", "and_open", is_flag=True, help="Open the report in the browser.")
@curve_options
@models_option
@result_options
def command(
    named: Path | None, run: Path | None, and_open: bool, style: CurveStyle | None, models: Path, watcher: Watcher
) -> Printed:
    """Rebuild a report, and open it with --open.

    RUN is a run, a comparison, a study or a search, of this or an older imgreg version, by its name under models/ or
    its path; by default the newest run. Rebuilds report.html and its figures from the contents of the folder; nothing
    is trained, and TensorFlow is not needed.

    \b
    Example:
      imgreg report --open
      imgreg report first-try --log-epochs --smooth 2 --ylim :1
    """
    from imgreg.api.report import rebuild_report
    from imgreg.runs.find import LAST, find_folder

    folder = find_folder(next(iter(one_of(named, run)), Path(LAST)), models=models)
    watcher.step("drawing", 0, 1, "")
    written = str(rebuild_report(folder, style=style))
    watcher.step("drawing", 1, 1, "")
    if and_open and click.launch(written) != 0:
        watcher.say(f"could not start a browser. Open {written} yourself.")
    return lambda: {"report": written}, lambda: written
