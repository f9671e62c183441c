"""imgreg howmuch DATA"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from imgreg.cli.flags import training_options
from imgreg.cli.options import recipe_option, settings_options
from imgreg.recipes.settings import build_settings


@click.command("howmuch")
@click.argument("data", type=click.Path(path_type=Path))
@recipe_option(default="regularized", says="How the heads are built and trained.")
@click.option(
    "--repeats",
    type=click.IntRange(min=2, max=1000),
    default=5,
    show_default=True,
    metavar="N",
    help="Splits drawn, each with every number of train photos.",
)
@click.option(
    "--more",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    metavar="N",
    help="Train photos to look ahead.",
)
@settings_options
@training_options
def command(
    data: Path,
    recipe: str,
    repeats: int,
    more: int,
    name: str | None,
    models: Path,
    cache_bytes: int | None,
    resume: bool | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **options: Any,
) -> None:
    """Say what more photos would bring.

    Heads are trained on all train photos, half of them, a quarter and so on, each scored on the same test photos; a
    power law through the scores says what --more further photos promise, with a 95 % interval. Features are computed
    once, and a command that was stopped goes on where it was. Writes curve.png, a table and report.html to a folder
    under models/.

    \b
    Example:
      imgreg howmuch data/
      imgreg howmuch data/ --more 1000 --repeats 10 --json
    """
    from imgreg.cli.progress import watching
    from imgreg.cli.show import print_json, print_result

    with watching(quiet=quiet, verbose=verbose) as watcher:
        from imgreg.cli.train import typed_command
        from imgreg.workflows.howmuch import howmuch, howmuch_document

        done = howmuch(
            data,
            settings=build_settings(recipe, options),
            repeats=repeats,
            more=more,
            models=models,
            name=name,
            command=typed_command(),
            cache_bytes=cache_bytes,
            resume=resume,
            watcher=watcher,
        )
    if as_json:
        print_json(howmuch_document(done))
    elif not quiet:
        from imgreg.reports.terminal.repeats import howmuch_text

        print_result(howmuch_text(done.error, done.loss, answer=done.answer, notes=done.notes, folder=done.folder))
