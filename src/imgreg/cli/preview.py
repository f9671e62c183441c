"""imgreg preview DATA"""

from __future__ import annotations

from pathlib import Path

import click

from imgreg.cli.flags import Printed, result_options
from imgreg.config import Augmentation
from imgreg.errors import UsageError
from imgreg.progress import Watcher
from imgreg.session import Session


@click.command("preview")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("preview.png"),
    show_default=True,
    help="Output file; overwritten if it exists.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 100),
    metavar="N",
    default=4,
    show_default=True,
    help="Number of photos, the classes in turn.",
)
@click.option(
    "--views", type=click.IntRange(1, 20), metavar="N", default=6, show_default=True, help="Augmented views per photo."
)
@click.option(
    "--augment",
    metavar="FILE",
    help="Pipeline file written by albumentations.save, instead of both backends.",
)
@click.option(
    "--recipe",
    metavar="NAME|FILE.toml",
    help="Recipe with the augmentation settings.  [default: regularized]",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    show_default=True,
    help="Random seed; the same seed as in train gives the same views.",
)
@click.option(
    "--image-size",
    "--imgsz",
    type=click.IntRange(32, 1024),
    metavar="N",
    default=128,
    show_default=True,
    help="Size of each picture in pixels.",
)
@result_options
def command(
    data: Path,
    out: Path,
    count: int,
    views: int,
    augment: str | None,
    recipe: str | None,
    seed: int,
    image_size: int,
    watcher: Watcher,
) -> Printed:
    """Preview augmented photos.

    Writes a contact sheet of train photos, each followed by its first augmented views, made by both backends (Keras'
    ImageDataGenerator and albumentations) with the same settings.

    \b
    Example:
      imgreg preview data/
      imgreg preview data/ --count 8 --out views.png
    """
    from imgreg.api.preview import preview
    from imgreg.data.augment import Augmenter
    from imgreg.recipes import load_recipe

    if augment is not None and recipe is not None:
        raise UsageError("--augment and --recipe cannot be combined: each selects the views to show. Omit one.")
    if augment is not None:
        augmentations = [Augmentation(backend="albumentations", pipeline=augment)]
    else:
        ranges = load_recipe(recipe or "regularized").augmentation
        if ranges.backend == "none":
            raise UsageError(f"recipe {recipe} uses no augmentation: nothing to preview. Try --recipe regularized.")
        drawn = ranges.rendered() if ranges.pipeline is None else {}
        backends = ("keras", "albumentations") if ranges.pipeline is None else ("albumentations",)
        augmentations = [Augmentation(**(drawn | {"backend": name})) if drawn else ranges for name in backends]
    augmenters = {f", {one.backend}": Augmenter(one, seed=seed, size_px=image_size) for one in augmentations}
    session = Session(watcher=watcher)
    preview(data, augmenters=augmenters, n_photos=count, n_views=views, target=out, session=session)
    return lambda: {"preview": str(out), "n_photos": count, "n_views": views, "seed": seed}, lambda: str(out)
