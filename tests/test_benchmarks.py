"""Benchmarks and tools are scripts that no test runs: what they import of imgreg must still be there."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
SCRIPTS = [path for folder in ("benchmarks", "tools") for path in sorted((REPOSITORY / folder).rglob("*.py"))]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_what_a_script_imports_exists(script: Path) -> None:
    """Each `from imgreg... import name` names a module, or something that its module defines or imports."""
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imgreg"):
            module = importlib.util.find_spec(node.module)
            assert module is not None, node.module
            assert module.origin is not None
            source = Path(module.origin).read_text(encoding="utf-8")
            for name in (alias.name for alias in node.names):
                defined = re.search(rf"^(def |class |from .*\b|    |import .*\b)?{name}\b", source, re.MULTILINE)
                assert defined or importlib.util.find_spec(f"{node.module}.{name}"), f"{node.module}.{name}"
