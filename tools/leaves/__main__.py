"""Draw the sample set of leaves: python tools/leaves FOLDER [--count 80] [--seed 0]"""

from __future__ import annotations

import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).parents[1]))

from leaves import CLASSES, draw_sample


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(1, 100_000), default=80, show_default=True, help="Pictures per class.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Random seed.")
def main(folder: Path, count: int, seed: int) -> None:
    """Draw a two-class set of photo-like pictures into FOLDER, which must be new or empty."""
    with click.progressbar(length=count * len(CLASSES), label="drawing", file=sys.stderr) as bar:
        draw_sample(folder, count=count, seed=seed, on_photo=lambda _: bar.update(1))


if __name__ == "__main__":
    main()
