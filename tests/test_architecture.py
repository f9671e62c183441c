"""The layer table: who may import whom, and which commands start without TensorFlow."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import imgreg
from conftest import with_precision

PACKAGE = Path(imgreg.__file__).parent

# Every room, and the rooms it may import from (itself always). config and errors are open to all.
MAY_IMPORT = {
    "errors": set(),
    "config": set(),
    "progress": {"runs"},
    "session": set(),
    "lazy_imports": set(),
    "paths": set(),
    "atomic_write": set(),
    "fresh_process": set(),
    "worker_pool": set(),
    "recipes": set(),
    "data": set(),
    "runs": set(),
    "features": {"data"},
    "heads": {"features", "runs"},
    "analysis": {"heads", "features", "data", "runs"},
    "reports": {"analysis", "data", "runs"},
    "training": {"reports", "analysis", "heads", "features", "data", "runs", "recipes"},
    "export": {"heads", "features", "data", "runs"},
    "api": {"export", "training", "reports", "analysis", "heads", "features", "data", "runs", "recipes"},
    "serve": {"api", "reports", "heads", "data", "runs", "recipes"},
    "cli": {"serve", "api", "reports", "heads", "data", "runs", "recipes"},
}
OPEN = {
    "errors",
    "config",
    "progress",
    "session",
    "lazy_imports",
    "paths",
    "atomic_write",
    "fresh_process",
    "worker_pool",
    "__version__",
}
ONLY_IN = {
    "keras": {"features", "heads", "export", "lazy_imports.py"},
    "tensorflow": {
        "features",
        "heads",
        "export",
        "lazy_imports.py",
        "data/augment.py",
    },  # ImageDataGenerator is one of the two backends
    "albumentations": {"data/augment.py"},
    "onnx": {"export"},
    "onnxruntime": {"export"},
    "ai_edge_litert": {"export"},
    "openvino": {"lazy_imports.py"},
    "matplotlib": {"reports", "api/run.py"},  # there for a type alone
    "starlette": {"serve"},
    "uvicorn": {"serve"},
    "jinja2": {"reports", "serve"},
    "tensorboard": {"reports"},
    "flatbuffers": {"export"},
    "click": {"cli"},
    "optuna": {"training/search.py"},
    "ray": {"training/ray_cluster.py"},
    "pyarrow": {"data/parquet_rows.py"},
    "obstore": {"data/stores.py"},
}


def imports() -> list[tuple[str, str]]:
    """(file relative to the package, dotted name imported) anywhere in the file."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found += [(path.relative_to(PACKAGE).as_posix(), alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                file = path.relative_to(PACKAGE).as_posix()
                parts = [node.module] if node.module != "imgreg" else [f"imgreg.{alias.name}" for alias in node.names]
                found += [(file, part) for part in parts]
    return found


def room(file: str) -> str:
    return file.split("/")[0].removesuffix(".py")


def test_imports_go_down_only() -> None:
    """No room imports from a room that the table does not give it."""
    for file, name in imports():
        if name.startswith("imgreg.") and room(file) in MAY_IMPORT:
            target = name.split(".")[1]
            allowed = MAY_IMPORT[room(file)] | OPEN | {room(file)}
            assert target in allowed, f"{file} imports {name}"


def test_no_file_imports_itself_by_a_detour() -> None:
    """The imports of files, function-level ones included, make no circle."""
    files = {path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")}
    graph: dict[str, set[str]] = {file: set() for file in files}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(_without_types(ast.parse(path.read_text(encoding="utf-8")))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("imgreg"):
                for alias in node.names:
                    parts = f"{node.module}.{alias.name}".split(".")[1:]
                    named = {
                        "/".join(parts) + ".py",
                        "/".join(parts[:-1]) + ".py",
                        "/".join(parts[:-1]) + "/__init__.py",
                    }
                    graph[path.relative_to(PACKAGE).as_posix()] |= named & files
    for file in files:
        graph[file] -= {file}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def _without_types(tree: ast.Module) -> ast.Module:
    """The module without its imports for the type checker alone."""
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")]
    return tree


def test_every_room_is_in_the_table() -> None:
    """A new folder or module must be in the table."""
    rooms = {room(file) for file, _ in imports()} - {"__init__", "__main__"}
    assert rooms <= set(MAY_IMPORT)


def test_heavy_libraries_stay_in_their_rooms() -> None:
    """Keras, TensorFlow, albumentations and the rest are imported only where the table says."""
    for file, name in imports():
        owners = ONLY_IN.get(name.split(".")[0])
        assert owners is None or file in owners or room(file) in owners, f"{file} imports {name}"


def modules_after(*code: str) -> str:
    report = "import sys; sys.stderr.write(' '.join(m for m in sys.modules if '.' not in m))"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*code, report])], capture_output=True, text=True, check=False
    )
    return done.stderr


def command(*arguments: str) -> str:
    return (
        f"import sys; sys.argv = ['imgreg', *{list(arguments)!r}]\n"
        "from imgreg.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        *([name, "--help"] for name in ("train", "compare", "study", "tune", "evaluate")),
        ["recipes"],
        ["runs"],
    ],
)
def test_looking_around_loads_no_tensorflow(arguments: list[str]) -> None:
    """Help and lists import neither TensorFlow nor anything else that is slow."""
    loaded = modules_after(command(*arguments)).split()
    assert "click" in loaded
    assert not {"tensorflow", "keras", "openvino", "albumentations", "matplotlib", "optuna"} & set(loaded)


def test_help_does_not_even_load_the_settings() -> None:
    """`imgreg --help` answers from click alone."""
    assert not {"pydantic", "numpy", "rich"} & set(modules_after(command("--help")).split())


@pytest.fixture(params=["float32", "bfloat16"])
def run_of_precision(trained, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the run whose card names this precision, as if trained on a machine that has it."""
    run = Path(shutil.copytree(trained.folder, tmp_path / "models" / "copy"))
    with_precision(run, request.param)
    return run


def test_predict_loads_no_tensorflow(trained, run_of_precision: Path) -> None:
    """predict answers with OpenVINO and NumPy alone once the base was exported, whatever the run's precision."""
    photo = next((trained.data / "warm").iterdir())
    arguments = ("predict", str(photo), "--run", str(run_of_precision), "--confidence", "0.5")
    loaded = modules_after(command(*arguments)).split()
    assert "openvino" in loaded
    slow = {"tensorflow", "keras", "albumentations", "matplotlib", "pydantic", "rich", "scipy", "sklearn"}
    assert not slow & set(loaded)


def test_predict_by_the_newest_run_is_as_quick(trained, run_of_precision: Path) -> None:
    """Finding the newest run needs no more than reading a file of each."""
    photo = next((trained.data / "warm").iterdir())
    loaded = modules_after(command("predict", str(photo), "--models", str(run_of_precision.parent))).split()
    assert "openvino" in loaded
    assert not {"tensorflow", "pydantic", "rich"} & set(loaded)


def test_comparing_runs_loads_no_tensorflow(trained, tmp_path: Path) -> None:
    """Run folders are enough to compare."""
    run = str(trained.folder)
    loaded = modules_after(command("compare", run, run, "--models", str(tmp_path))).split()
    assert "matplotlib" in loaded
    assert not {"tensorflow", "keras", "openvino", "albumentations"} & set(loaded)


def test_evaluate_loads_no_tensorflow(trained, tmp_path: Path) -> None:
    """Scoring needs the run and the photos alone."""
    loaded = modules_after(command("evaluate", str(trained.folder), str(trained.data), "-q")).split()
    assert "openvino" in loaded
    assert not {"tensorflow", "keras", "matplotlib"} & set(loaded)


def test_these_tests_can_fail() -> None:
    """A process that does import Keras is seen to."""
    assert "keras" in modules_after("import os; os.environ['KERAS_BACKEND'] = 'numpy'", "import keras").split()


def test_no_telemetry_is_loaded() -> None:
    """OpenVINO's telemetry, which reports to Google at import, never gets loaded."""
    code = (
        "from imgreg.lazy_imports import load_openvino\nload_openvino()\n"
        "assert sys.modules['openvino_telemetry'] is None"
    )
    assert "openvino_telemetry" in modules_after("import sys", code).split()
