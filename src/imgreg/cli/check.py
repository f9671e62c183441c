"""imgreg check DATA"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from imgreg.cli.flags import Printed, cache_size_option, result_options
from imgreg.cli.options import base_options, build_base
from imgreg.errors import DatasetError
from imgreg.progress import Watcher
from imgreg.session import Session


@click.command("check")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--fix",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="MANIFEST.csv",
    help="Write a manifest without the problem files; pass it to train in place of DATA.",
)
@base_options
@cache_size_option
@result_options
def command(data: Path, fix: Path | None, cache_bytes: int | None, watcher: Watcher, **options: Any) -> Printed:
    """Find problems in a photo dataset before training.

    Reports unreadable and unusual files; duplicates and near-duplicates; photos that appear in more than one class or
    in more than one split; class imbalance; and classes that file size, format, camera metadata or colour alone can
    tell apart. Each finding has a stable code. The photos are never modified. The exit code is 3 if train would reject
    DATA, even if --fix wrote a manifest that train accepts.

    \b
    Example:
      imgreg check data/
      imgreg check data/ --fix clean.csv
      imgreg train clean.csv
    """
    from imgreg.api.check import check, check_document
    from imgreg.data.stores import as_typed
    from imgreg.reports.terminal.findings import findings_text

    base, every = build_base(options), bool(click.get_current_context().params["verbose"])
    done = check(data, base=base, session=Session(cache_bytes=cache_bytes, watcher=watcher), fix=fix)
    following = f"check {shlex.quote(as_typed(data))} --fix clean.csv"
    if fix is not None or not done.stops:
        following = f"train {shlex.quote(as_typed(fix or data))}"
    return (
        lambda: check_document(done),
        lambda: findings_text(done.index, done.findings, every=every, manifest=fix, command=f"imgreg {following}"),
        DatasetError.exit_code if done.stops else 0,
    )
