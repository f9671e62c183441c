"""A run as it is recorded, and as it is read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from conftest import Trained
from imgreg.config import Base, Settings
from imgreg.recipes import load_recipe
from imgreg.runs.folder import read_run
from imgreg.session import Session
from imgreg.training.new_folder import new_folder
from imgreg.training.record import record
from imgreg.training.train import train_heads


def test_what_is_read_back_is_what_was_recorded(trained: Trained, tmp_path: Path) -> None:
    """The report is drawn from values in memory: they equal those of the folder, to the bit, test scores included."""
    rows = [
        f"{photo},{photo.parent.name},{split}"
        for label in ("cold", "warm")
        for photo, split in zip(
            sorted((trained.data / label).iterdir()), ["val", "val", "test", *["train"] * 99], strict=False
        )
    ]
    manifest = tmp_path / "photos" / "some.csv"
    manifest.parent.mkdir()
    manifest.write_text("\n".join(["path,label,split", *rows]))
    session = Session(models=tmp_path / "models", name="run", command="imgreg train photos/some.csv")
    settings = Settings(
        base=Base(weights="starter", image_size=64),
        recipe=load_recipe("plain", overrides={"head.units": [8], "training.epochs": 2}),
    )
    with new_folder(session, data=manifest, kind="plain") as (folder, target):
        (result,) = train_heads(manifest, [settings], session=session, sanity_baselines=("majority",))
        recorded = record(result, folder, target=target, session=session)
    found = read_run(target)
    assert found.summary == recorded.summary
    assert (found.split, found.skipped, found.folder) == (recorded.split, recorded.skipped, recorded.folder)
    assert (found.config_toml, found.environment) == (recorded.config_toml, recorded.environment)
    assert (found.history.epochs, found.history.layers) == (recorded.history.epochs, recorded.history.layers)
    for name in ("val_probabilities", "train_true_class"):
        np.testing.assert_array_equal(getattr(found.history, name), getattr(recorded.history, name))
    assert found.test_probabilities is not None
    np.testing.assert_array_equal(found.test_probabilities, recorded.test_probabilities)
