"""imgreg verify [RUN]"""

from __future__ import annotations

from pathlib import Path

import click

from imgreg.cli.flags import json_option, models_option, verbosity_options
from imgreg.cli.run_option import chosen_runs, one_of, run_argument, run_option


@click.command("verify")
@run_argument
@run_option
@click.option("--files-only", is_flag=True, help="Check the files only; do not train.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Current location of the photos.  [default: where they were]"
)
@models_option
@json_option
@verbosity_options
def command(
    named: Path | None,
    run: Path | None,
    files_only: bool,
    data: Path | None,
    models: Path,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Check a run's integrity and reproduce it.

    Checks every file of RUN against its SHA256SUMS, then retrains with the same settings in a temporary folder and
    compares head and history bit by bit; if they differ, reports what has changed since. RUN is a name under models/ or
    a path, by default the newest run. It is not modified. The exit code is 4 if anything differs.

    \b
    Example:
      imgreg verify first-try
      imgreg verify first-try --files-only
    """
    from imgreg.cli.progress import watching
    from imgreg.cli.show import print_json
    from imgreg.reports.text import visible

    with watching(quiet=quiet, verbose=verbose) as watcher:
        from imgreg.api.verify import verification_document, verify

        (chosen,) = chosen_runs(one_of(named, run), models=models, say=watcher.tell if quiet else watcher.say)
        done = verify(chosen, again=not files_only, data=data, watcher=watcher)
    if as_json:
        print_json(verification_document(done))
    elif not quiet:
        lines = [*done.files] or (
            ["All files are unchanged."] if done.listed else ["The run has no SHA256SUMS to check against."]
        )
        if done.same:
            lines.append("Reproduced: the head and the history are bit-identical.")
        lines += [*done.differences, *done.reasons]
        for line in lines:
            click.echo(visible(line))
    if not done.holds:
        click.get_current_context().exit(4)
