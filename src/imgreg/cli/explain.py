"""imgreg explain PHOTO..."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from imgreg.cli.flags import Printed, models_option, result_options
from imgreg.cli.run_option import chosen_runs, one_of, run_option
from imgreg.progress import Watcher


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
@result_options
def command(
    photos: tuple[Path, ...], run: Path | None, label: str | None, out: Path, models: Path, watcher: Watcher
) -> Printed:
    """Show which parts of a photo support a class.

    Writes NAME-explained.png, the photo next to its Grad-CAM heatmap (from VGG16's last convolution), and
    NAME-map.npy, the heatmap as an array. As a sanity check, heatmaps are also computed for heads with random weights:
    if they look the same, the heatmap reflects the photo rather than what the run has learned.

    \b
    Example:
      imgreg explain photo.jpg
      imgreg explain photo.jpg --class bees --run first-try --out why/
    """
    from imgreg.api.explain import explain_photos, likeness_note
    from imgreg.paths import store_address
    from imgreg.reports.text import visible

    (chosen,) = chosen_runs(one_of(None, run), models=models, watcher=watcher)
    done = list(explain_photos(photos, run=chosen, out=out, label=label, watcher=watcher))
    paths = ("path", "overlay", "map")
    return (
        lambda: [asdict(one) | {name: store_address(getattr(one, name)) for name in paths} for one in done],
        lambda: "\n".join(
            visible(f"{one.overlay}  {one.label} {one.probability:.1%}; {likeness_note(one.likeness)}") for one in done
        ),
    )
