"""The generated settings page: every setting with what it may be."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from imgreg.config import Head, Optimizer


def test_settings_page_names_every_choice_and_bound() -> None:
    """Also those that no bundled recipe uses: linear, ftrl, Adam's betas and epsilon, a cosine's alpha, min_delta."""
    spec = importlib.util.spec_from_file_location("reference", Path(__file__).parents[2] / "tools" / "reference.py")
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    rows = {line.split("`")[1]: line for line in reference.settings_page().splitlines() if line.startswith("| `")}
    assert {f"head.{name}" for name in Head.model_fields} <= rows.keys()
    assert {f"optimizer.{name}" for name in Optimizer.model_fields} <= rows.keys()
    for key, shown in {
        "head.activation": "`linear`",
        "head.output": "`softmax`, `sigmoid`",
        "optimizer.name": "`ftrl`",
        "optimizer.beta_1": "≥ 0, < 1",
        "optimizer.epsilon": "> 0, ≤ 1",
        "optimizer.alpha": "≥ 0, ≤ 1",
        "training.min_delta": "≥ 0, ≤ 10",
        "base.preprocessing": "`vgg16`, `rescale`",
    }.items():
        assert shown in rows[key]
