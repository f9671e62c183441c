"""imgreg extract DATA"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from imgreg.cli.flags import Printed, cache_size_option, ray_option, result_options
from imgreg.cli.layout import GroupedCommand
from imgreg.cli.options import features_options, recipe_option
from imgreg.progress import Watcher
from imgreg.recipes.settings import build_settings
from imgreg.session import Session

if TYPE_CHECKING:
    from imgreg.api.extract import ExtractedFeatures


@click.command("extract", cls=GroupedCommand)
@click.argument("data", type=click.Path(path_type=Path))
@recipe_option(default="regularized", says="Recipe whose features to compute: its augmented views, its seed.")
@features_options
@ray_option
@cache_size_option
@result_options
def command(
    data: Path, recipe: str, ray: str | None, cache_bytes: int | None, watcher: Watcher, **options: Any
) -> Printed:
    """Compute the features of photos, for later commands.

    Runs the frozen VGG16 on every photo and its augmented views and keeps the features in the cache. train, study and
    the others do so by themselves; this does it ahead, with --ray on many machines. Features that are in the cache are
    not computed again, so an interrupted command resumes.

    \b
    Example:
      imgreg extract data/
      imgreg extract data/ --ray auto
    """
    from imgreg.api.extract import extract_features, extraction_document

    session = Session(ray=ray, cache_bytes=cache_bytes, watcher=watcher)
    done = extract_features(data, settings=build_settings(recipe, options), session=session)
    return lambda: extraction_document(done), lambda: _text(done)


def _text(done: ExtractedFeatures) -> str:
    rate = f" ({done.features_per_second:,.1f} per second)" if done.n_computed else ""
    return (
        f"{done.n_photos:,} photos: {done.n_computed:,} features computed in {done.seconds:,.1f} s{rate}, "
        f"{done.n_read:,} read from the cache, {done.cache}"
    )
