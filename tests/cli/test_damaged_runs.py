"""A stranger's run folder whose sums hold: refused with words, or used; never a traceback and never a hang."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import Trained, imgreg
from imgreg.runs.checksums import write_sums


def card(**change: object) -> Callable[[Path], None]:
    return lambda run: _change(run / "model.json", change)


def metrics(**change: object) -> Callable[[Path], None]:
    return lambda run: _change(run / "metrics.json", change)


def _change(path: Path, change: dict[str, object]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def bytes_of(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda run: (run / name).write_bytes(change((run / name).read_bytes())) and None


def archive(_: bytes) -> bytes:
    data = io.BytesIO()
    np.savez(data, a=np.zeros(3, np.float32))
    return data.getvalue()


def with_nan(data: bytes) -> bytes:
    values = np.load(io.BytesIO(data))
    values[0, 0, 0] = np.nan
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def in_place_of(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / name).unlink()
        make(run / name)

    return damage


NESTED = b"[" * 100_000 + b"]" * 100_000

# what is done to the run -> which commands must refuse it (the others may use what they read)
DAMAGE: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    **{f"image_size {n}": (card(image_size=n), {"predict"}) for n in (0, 8, 31, -64, 20_000, 10**6)},
    "best_epoch -9": (metrics(best_epoch=-9), {"report"}),
    "best_epoch 99": (metrics(best_epoch=99), {"report"}),
    "kept_epoch 99": (metrics(kept_epoch=99), {"report"}),
    "n_folds 3": (metrics(n_folds=3), {"report"}),
    "n_folds 10**9": (metrics(n_folds=10**9), {"report"}),
    "a fold in a single split": (bytes_of("split.csv", lambda data: data.replace(b",train,", b",fold-1,")), {"report"}),
    "metrics.json nested": (bytes_of("metrics.json", lambda _: NESTED), {"report"}),
    "environment.json nested": (bytes_of("environment.json", lambda _: NESTED), {"report"}),
    "model.json nested": (bytes_of("model.json", lambda _: NESTED), {"predict"}),
    "unknown label": (bytes_of("split.csv", lambda data: data.replace(b",cold,", b",lukewarm,", 1)), {"report"}),
    "bare CR in split.csv": (bytes_of("split.csv", lambda data: data.replace(b",cold,", b",co\rld,", 1)), {"report"}),
    "long field in split.csv": (
        bytes_of("split.csv", lambda data: data.replace(b",cold,", b"," + b"x" * 140_000 + b",", 1)),
        {"report"},
    ),
    "long field in history.csv": (bytes_of("history.csv", lambda data: data + b"9" * 140_000), {"report"}),
    "NaN as probability": (bytes_of("val_probabilities.npy", with_nan), {"report"}),
    "an archive as probabilities": (bytes_of("val_probabilities.npy", archive), {"report"}),
    **{
        f"{name} is a pipe": (in_place_of(name, lambda path: os.mkfifo(path)), {command})
        for name, command in (
            ("model.json", "predict"),
            ("head.safetensors", "predict"),
            ("calibration.safetensors", "predict"),
            ("metrics.json", "report"),
            ("history.csv", "report"),
            ("split.csv", "report"),
            ("val_probabilities.npy", "report"),
            ("config.toml", "report"),
        )
    },
    **{
        f"{name} is endless": (in_place_of(name, lambda path: path.symlink_to("/dev/zero")), {command})
        for name, command in (("model.json", "predict"), ("metrics.json", "report"), ("split.csv", "report"))
    },
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a system with named pipes")
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_run_is_refused_or_used(trained: Trained, tmp_path: Path, kind: str) -> None:
    """predict, report, runs and verify end with their own exit codes; those that read the damage refuse the run."""
    damage, refused_by = DAMAGE[kind]
    run = Path(shutil.copytree(trained.folder, tmp_path / "models" / "run"))
    damage(run)
    write_sums(run)
    photo = sorted((trained.data / "warm").iterdir())[0]
    commands = {
        "predict": ("predict", photo, "--run", run),
        "report": ("report", run),
        "runs": ("runs", "--models", run.parent),
        "verify": ("verify", run, "--files-only"),
    }
    for name, command in commands.items():
        done = imgreg(*command)
        assert "Traceback" not in done.err, (name, done.err)
        assert done.code in (0, 4), (name, done.code, done.err)
        if name in refused_by:
            assert done.code == 4, (name, done.err)
            assert re.search(r"model\.json|metrics\.json|\.csv|\.npy|\.safetensors|config\.toml|is not a", done.err)
