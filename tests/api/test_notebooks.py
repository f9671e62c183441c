"""The notebooks in docs/ run from the first cell to the last."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from conftest import paint_set

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"


@pytest.mark.parametrize("name", ["two_celebrities", "overfit_and_underfit"])
def test_every_cell_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """On a few photos and two epochs; what is asked for shows itself as HTML, and each figure as a picture."""
    monkeypatch.setenv("IMGREG_NOTEBOOK_DATA", str(paint_set(tmp_path / "data", n_each=8)))
    monkeypatch.setenv("IMGREG_NOTEBOOK_EPOCHS", "2")
    monkeypatch.setenv("IMGREG_NOTEBOOK_MODELS", str(tmp_path / "models"))
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace('{"weights": "starter"}', '{"weights": "starter", "image_size": 32}').replace(
            "repeats=3", "repeats=2"
        )
    nbformat.write(notebook, tmp_path / "small.ipynb")
    # In a process of its own: nbclient's event loop takes the signal handlers of the process that it runs in.
    code = (
        "import nbclient, nbformat; notebook = nbformat.read('small.ipynb', as_version=4); "
        "nbclient.NotebookClient(notebook, timeout=300).execute(); nbformat.write(notebook, 'executed.ipynb')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=600)
    notebook = nbformat.read(tmp_path / "executed.ipynb", as_version=4)
    shown = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    html = [output["data"]["text/html"] for output in shown if "text/html" in output.get("data", {})]
    assert any("<h3>Comparison of" in text and "data:image/" in text for text in html)
    assert not [output for output in shown if output["output_type"] == "error"]


def test_notebooks_are_kept_without_outputs() -> None:
    """What a run shows belongs to the machine that ran it."""
    for path in NOTEBOOKS.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook.cells), path
