"""How many wrong labels does `imgreg label-issues` put first? Labels of real photos are flipped, and looked for.

usage: python benchmarks/labels.py DATA [SHARE [N_SEEDS]]     (default 0.05 of the labels, 5 times)

The peer is the order by chance, and the same photos ranked by the loss of a head that trained on them.
"""

from __future__ import annotations

import csv
import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

from imgreg.api.label_issues import find_label_issues
from imgreg.config import Base, Settings
from imgreg.data.index import index_photos
from imgreg.recipes import load_recipe
from imgreg.session import Session

FIRST = 0.10  # of the ranked photos
RECIPES = ("plain", "low_lr")


def main(data: Path, share: float, n_seeds: int) -> None:
    photos = index_photos(data, max_bad=0.05).photos
    classes = sorted({photo.label for photo in photos})
    n_first = round(FIRST * len(photos))
    found: dict[str, list[float]] = {}
    for seed in range(n_seeds):
        draw = np.random.default_rng(seed)
        flipped = set(draw.choice(len(photos), round(share * len(photos)), replace=False).tolist())
        with tempfile.TemporaryDirectory() as folder:
            manifest = Path(folder) / "flipped.csv"
            with manifest.open("w", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(("path", "label"))
                for i, photo in enumerate(photos):
                    wrong = classes[(classes.index(photo.label) + 1) % len(classes)]
                    rows.writerow((photo.path.resolve(), wrong if i in flipped else photo.label))
            for recipe in RECIPES:
                for repeats in (1, 3):
                    done = find_label_issues(
                        manifest,
                        settings=Settings(recipe=load_recipe(recipe), base=Base(weights="starter")),
                        repeats=repeats,
                        folds=5,
                        session=Session(models=Path(folder) / "models", name=f"{recipe}-{repeats}"),
                    )
                    hit = sum(row.photo in flipped for row in done.table.rows[:n_first]) / len(flipped)
                    found.setdefault(f"{recipe}, {repeats} x 5 folds", []).append(hit)
                    if repeats == 1:
                        by_train_loss = sorted(done.table.rows, key=lambda row: row.own_when_trained or 0.0)
                        hit = sum(row.photo in flipped for row in by_train_loss[:n_first]) / len(flipped)
                        found.setdefault(f"{recipe}, by its own train loss", []).append(hit)
    print(json.dumps({"data": str(data), "share": share, "first": FIRST, "found": found}))
    print(f"share of {share:.0%} flipped labels among the first {FIRST:.0%} (by chance {FIRST:.0%}):")
    for name, hits in found.items():
        print(f"{name:36} median {statistics.median(hits):.0%}  ({', '.join(f'{hit:.0%}' for hit in hits)})")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        float(sys.argv[2]) if len(sys.argv) > 2 else 0.05,
        int(sys.argv[3]) if len(sys.argv) > 3 else 5,
    )
