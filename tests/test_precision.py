"""The base in float32 on every machine, and in bfloat16 where the processor has it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import Trained, imgreg, one_of_each, with_precision
from imgreg.api import classifier as workflow
from imgreg.features.engines import Engine, EngineSettings, has_bfloat16

NEEDS_BFLOAT16 = pytest.mark.skipif(not has_bfloat16(), reason="needs a processor with AMX or AVX512-BF16")


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=NEEDS_BFLOAT16)])
def test_one_photo_has_one_probability(trained: Trained, tmp_path: Path, precision: str) -> None:
    """Alone or among others, explained or predicted: the same photo and run give the same probability."""
    folder = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    with_precision(folder, precision)
    run = ("--run", folder, "--json")
    photos = sorted((trained.data / "warm").iterdir())[:2]
    together = [json.loads(line) for line in imgreg("predict", *photos, *run).out.splitlines()]
    alone = [imgreg("predict", photo, *run).json["probability"] for photo in photos]
    explained = imgreg("explain", *photos, *run, "--out", tmp_path / "out").json
    assert [one["probability"] for one in together] == pytest.approx(alone, abs=1e-6)
    assert [one["probability"] for one in explained] == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_of_a_machine_with_another_arithmetic_is_used(trained: Trained, tmp_path: Path, precision: str) -> None:
    """A float32 run is computed in float32 everywhere; a bfloat16 run in float32 where there is no bfloat16, which is
    said, by predict, explain and evaluate. The answers differ by bfloat16's rounding at most."""
    run = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    with_precision(run, precision)
    photo = sorted((trained.data / "warm").iterdir())[0]
    at_home = imgreg("predict", photo, "--run", trained.folder, "--json").json["probability"]
    assert imgreg("predict", photo, "--run", run, "--json").json["probability"] == pytest.approx(at_home, abs=0.02)
    commands = {
        "predict": ("predict", photo, "--run", run, "--json"),
        "explain": ("explain", photo, "--run", run, "--out", tmp_path / "out", "--json"),
        "evaluate": ("evaluate", run, one_of_each(trained, tmp_path / "few"), "--json"),
    }
    for name, command in commands.items():
        done = imgreg(*command)
        assert done.code == 0, (name, done.err)
        assert ("does not support bfloat16" in done.err) == (precision == "bfloat16" and not has_bfloat16()), name


@pytest.mark.parametrize("machine", [False, True], ids=["no bfloat16 here", "bfloat16 here"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_a_run_is_computed_in(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, machine: bool
) -> None:
    """Both kinds of run on both kinds of machine, whichever this one is: bfloat16 only where both have it, float32
    otherwise; predict, explain and evaluate say so where that is not what the run was trained in."""
    run = Path(shutil.copytree(trained.folder, tmp_path / "run"))
    with_precision(run, precision)
    asked: list[str] = []
    load = workflow.load_engine

    def loading(settings: EngineSettings, **options: Any) -> Engine:
        asked.append(settings.precision)
        return load(settings, **options)

    monkeypatch.setattr(workflow, "load_engine", loading)
    monkeypatch.setattr(workflow, "has_bfloat16", lambda: machine)
    photo = sorted((trained.data / "warm").iterdir())[0]
    for command in (
        ("predict", photo, "--run", run),
        ("explain", photo, "--run", run, "--out", tmp_path / "out"),
        ("evaluate", run, one_of_each(trained, tmp_path / "few")),
    ):
        done = imgreg(*command)
        assert done.code == 0, (command, done.err)
        assert ("does not support bfloat16. Using float32" in done.err) == (precision == "bfloat16" and not machine)
    assert asked == [precision if machine else "float32"] * 3


def test_the_switch_of_onednn_takes_bfloat16_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a machine with bfloat16 can run the tests as one without."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx512_core")
    assert not has_bfloat16()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX")
    with_newer = has_bfloat16()
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert with_newer == has_bfloat16()
