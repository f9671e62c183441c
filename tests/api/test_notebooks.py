"""The notebooks in docs/ run from the first cell to the last."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import nbformat
import pytest

from conftest import paint_set

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"


NAMES = ("two_celebrities", "overfit_and_underfit")
SMALLER = {
    '{"weights": "starter"}': '{"weights": "starter", "image_size": 32}',
    "repeats=3": "repeats=2",
    '["plain", "blog", "regularized"]': '["plain", "regularized"]',
    "comparison.runs[2]": "comparison.runs[1]",
    '"tiny", "small", "medium", "large"': '"tiny", "large"',
    '    large("large with L2", **{"head.l2": 0.001}),\n': "",
}


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The cells of each notebook after they ran: one kernel, which starts TensorFlow once and forgets all names between
    the notebooks."""
    root = tmp_path_factory.mktemp("notebooks")
    environment = {
        "IMGREG_NOTEBOOK_DATA": str(paint_set(root / "data", n_each=8)),
        "IMGREG_NOTEBOOK_EPOCHS": "1",
        "IMGREG_NOTEBOOK_MODELS": str(root / "models"),
    }
    notebooks = {name: nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4) for name in NAMES}
    whole = nbformat.v4.new_notebook()
    for notebook in notebooks.values():
        for cell in notebook.cells:
            for whole_size, small in SMALLER.items():
                cell.source = cell.source.replace(whole_size, small)
        whole.cells += [*notebook.cells, nbformat.v4.new_code_cell("%reset -f")]
    nbformat.write(whole, root / "small.ipynb")
    # In a process of its own: nbclient's event loop takes the signal handlers of the process that it runs in.
    code = (
        "import nbclient, nbformat; notebook = nbformat.read('small.ipynb', as_version=4); "
        "nbclient.NotebookClient(notebook, timeout=300).execute(); nbformat.write(notebook, 'executed.ipynb')"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root, env=os.environ | environment, check=True, timeout=600)
    cells = iter(nbformat.read(root / "executed.ipynb", as_version=4).cells)
    return {name: [*islice(cells, len(notebook.cells) + 1)] for name, notebook in notebooks.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_runs(executed: dict[str, list[Any]], name: str) -> None:
    """On a few photos, with fewer recipes and one epoch; results show themselves as HTML, figures as pictures."""
    shown = [output for cell in executed[name] for output in cell.get("outputs", ())]
    html = [output["data"]["text/html"] for output in shown if "text/html" in output.get("data", {})]
    assert any("<h3>Comparison of" in text and "data:image/" in text for text in html)
    assert not [output for output in shown if output["output_type"] == "error"]


def test_the_smaller_cells_are_in_the_notebooks() -> None:
    """Each replacement of SMALLER still finds its text."""
    cells = "".join(cell.source for name in NAMES for cell in nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4).cells)
    assert [text for text in SMALLER if text not in cells] == []


def test_notebooks_are_kept_without_outputs() -> None:
    """What a run shows belongs to the machine that ran it."""
    for path in NOTEBOOKS.glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in notebook.cells), path
