"""The base in float32 on every machine, and in bfloat16 where the processor has it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import TRAIN_ARGUMENTS, Trained, imgreg, one_of_each, with_precision
from imgreg.api import classifier as workflow
from imgreg.features.engines import Engine, EngineSettings
from imgreg.features.processor import has_bfloat16, has_int8

NEEDS_BFLOAT16 = pytest.mark.skipif(not has_bfloat16(), reason="needs a processor with AMX or AVX512-BF16")
NEEDS_INT8 = pytest.mark.skipif(not has_int8(), reason="needs a processor with VNNI or AMX")


@pytest.mark.parametrize(
    "precision",
    ["float32", pytest.param("bfloat16", marks=NEEDS_BFLOAT16), pytest.param("int8", marks=NEEDS_INT8)],
)
def test_one_photo_has_one_probability(trained: Trained, tmp_path: Path, precision: str) -> None:
    """Alone or among others, explained or predicted: the same photo and run give the same probability."""
    folder = trained.folder
    if trained.document["precision"] != precision:
        where = ("--models", tmp_path, "--name", "run", "--json")
        done = imgreg("train", trained.data, *TRAIN_ARGUMENTS, "--precision", precision, *where)
        assert (done.code, done.json["precision"]) == (0, precision), done.err
        folder = tmp_path / "run"
    run = ("--run", folder, "--json")
    photos = sorted((trained.data / "warm").iterdir())[:2]
    together = [json.loads(line) for line in imgreg("predict", *photos, *run).out.splitlines()]
    alone = [imgreg("predict", photo, *run).json["probability"] for photo in photos]
    explained = imgreg("explain", *photos, *run, "--out", tmp_path / "out").json
    assert [one["probability"] for one in together] == pytest.approx(alone, abs=1e-6)
    assert [one["probability"] for one in explained] == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize("machine", [False, True], ids=["float32 alone here", "all here"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", pytest.param("int8", marks=NEEDS_INT8)])
def test_what_a_run_is_computed_in(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, machine: bool
) -> None:
    """Every kind of run on both kinds of machine, whichever this one is: bfloat16 and int8 only where both have it,
    float32 otherwise; predict, explain and evaluate say so where that is not what the run was trained in, and answers
    differ by the rounding at most."""
    run = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    with_precision(run, precision)
    photo = sorted((trained.data / "warm").iterdir())[0]
    at_home = imgreg("predict", photo, "--run", trained.folder, "--json").json["probability"]
    asked: list[str] = []
    load = workflow.load_engine

    def loading(settings: EngineSettings, **options: Any) -> Engine:
        asked.append(settings.precision)
        return load(settings, **options)

    monkeypatch.setattr(workflow, "load_engine", loading)
    monkeypatch.setattr(workflow, "has_bfloat16", lambda: machine)
    monkeypatch.setattr(workflow, "has_int8", lambda: machine)
    for command in (
        ("predict", photo, "--run", run, "--json"),
        ("explain", photo, "--run", run, "--out", tmp_path / "out"),
        ("evaluate", run, one_of_each(trained, tmp_path / "few")),
    ):
        done = imgreg(*command)
        assert done.code == 0, (command, done.err)
        if command[0] == "predict":
            assert done.json["probability"] == pytest.approx(at_home, abs=0.05 if precision == "int8" else 0.02)
        replaced = precision != "float32" and not machine
        assert (f"does not support {precision}. Using float32" in done.err) == replaced
    assert asked == [precision if machine else "float32"] * 3


def test_the_switch_of_onednn_takes_bfloat16_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a machine with bfloat16 can run the tests as one without."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx512_core")
    assert not has_bfloat16()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX")
    with_newer = has_bfloat16()
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert with_newer == has_bfloat16()
