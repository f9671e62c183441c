"""imgreg explain PHOTO..."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from imgreg.cli.flags import json_option, models_option, verbosity_options
from imgreg.cli.run_option import chosen_runs, one_of, run_option

if TYPE_CHECKING:
    from imgreg.api.explain import Explained


@click.command("explain")
@click.argument("photos", nargs=-1, required=True, type=click.Path(path_type=Path, readable=False))
@run_option
@click.option("--class", "label", metavar="NAME", help="Class to explain.  [default: the predicted class]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("explained"),
    show_default=True,
    help="Output folder; existing files of the same name are overwritten.",
)
@models_option
@json_option
@verbosity_options
def command(
    photos: tuple[Path, ...],
    run: Path | None,
    label: str | None,
    out: Path,
    models: Path,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Show which parts of a photo support a class.

    Writes NAME-explained.png, the photo next to its Grad-CAM heatmap (from VGG16's last convolution), and
    NAME-map.npy, the heatmap as an array. As a sanity check, heatmaps are also computed for heads with random weights:
    if they look the same, the heatmap reflects the photo rather than what the run has learned.

    \b
    Example:
      imgreg explain photo.jpg
      imgreg explain photo.jpg --class bees --run first-try --out why/
    """
    from imgreg.cli.progress import watching
    from imgreg.cli.show import print_json

    with watching(quiet=quiet, verbose=verbose) as watcher:
        from imgreg.api.explain import explain_photos

        (chosen,) = chosen_runs(one_of(None, run), models=models, say=watcher.tell if quiet else watcher.say)
        done = list(explain_photos(photos, run=chosen, out=out, label=label, watcher=watcher))
    if as_json:
        print_json(
            [asdict(one) | {name: str(getattr(one, name)) for name in ("path", "overlay", "map")} for one in done]
        )
    elif not quiet:
        for one in done:
            click.echo(_line(one))


def _line(one: Explained) -> str:
    from imgreg.api.explain import likeness_note
    from imgreg.reports.text import visible

    return visible(f"{one.overlay}  {one.label} {one.probability:.1%}; {likeness_note(one.likeness)}")
