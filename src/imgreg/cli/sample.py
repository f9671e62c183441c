"""imgreg sample DIR"""

from __future__ import annotations

from pathlib import Path

import click

from imgreg.cli.flags import json_option, verbosity_options


@click.command("sample")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--count", type=click.IntRange(1, 100_000), default=80, show_default=True, help="Number of pictures per class."
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Random seed.",
)
@json_option
@verbosity_options
def command(folder: Path, count: int, seed: int, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Generate a synthetic two-class dataset.

    FOLDER must be new or empty; it gets one folder per class.

    \b
    Example:
      imgreg sample leaves --count 100 --seed 1
      imgreg compare leaves
    """
    from imgreg.cli.progress import watching
    from imgreg.cli.show import print_json
    from imgreg.data.sample import CLASSES, draw_sample

    with watching(quiet=quiet, verbose=verbose) as watcher:
        total = count * len(CLASSES)
        draw_sample(folder, count=count, seed=seed, on_photo=lambda done: watcher.step("drawing", done, total, ""))
    if as_json:
        print_json({"folder": str(folder), "classes": CLASSES, "n_each": count, "seed": seed})
    elif not quiet:
        click.echo(f"{total} pictures in {folder}: {', '.join(CLASSES)}")
