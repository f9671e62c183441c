"""imgreg verify [RUN]"""

from __future__ import annotations

from pathlib import Path

import click

from imgreg.cli.flags import Printed, models_option, result_options
from imgreg.cli.run_option import chosen_runs, one_of, run_argument, run_option
from imgreg.errors import ArtefactError
from imgreg.progress import Watcher


@click.command("verify")
@run_argument
@run_option
@click.option("--files-only", is_flag=True, help="Check the files only; do not train.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Current location of the photos.  [default: where they were]"
)
@models_option
@result_options
def command(
    named: Path | None, run: Path | None, files_only: bool, data: Path | None, models: Path, watcher: Watcher
) -> Printed:
    """Check a run's integrity and reproduce it.

    Checks every file of RUN against its SHA256SUMS, then retrains with the same settings in a temporary folder and
    compares head and history bit by bit; if they differ, reports what has changed since. RUN is a name under models/ or
    a path, by default the newest run. It is not modified. The exit code is 4 if anything differs.

    \b
    Example:
      imgreg verify first-try
      imgreg verify first-try --files-only
    """
    from imgreg.api.verify import verification_document, verify
    from imgreg.reports.text import visible

    (chosen,) = chosen_runs(one_of(named, run), models=models, watcher=watcher)
    done = verify(chosen, again=not files_only, data=data, watcher=watcher)
    unchanged = "All files are unchanged." if done.listed else "The run has no SHA256SUMS to check against."
    reproduced = ["Reproduced: the head and the history are bit-identical."] if done.same else []
    lines = [*(done.files or [unchanged]), *reproduced, *done.differences, *done.reasons]
    return (
        lambda: verification_document(done),
        lambda: "\n".join(map(visible, lines)),
        0 if done.holds else ArtefactError.exit_code,
    )
