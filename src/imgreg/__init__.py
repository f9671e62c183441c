"""imgreg: is my photo classifier overfitting, what helps, and how sure are we?

>>> import imgreg
>>> imgreg.load_recipe("plain").head.units
(256,)

`Workspace` trains and compares, `load_run` reads a finished run, `load_recipe` reads a recipe. Every error that a user
can fix is an `ImgregError`. Names are imported when they are first used, so `import imgreg` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from imgreg.api.result import ComparisonResult, Explained, Result
    from imgreg.api.run import TrainedRun, load_run
    from imgreg.api.table import Table
    from imgreg.api.workspace import Workspace
    from imgreg.config import Recipe
    from imgreg.errors import (
        ArtefactError,
        BusyError,
        DatasetError,
        DivergedError,
        FeatureError,
        ImgregError,
        MachineError,
        PhotoError,
        UsageError,
    )
    from imgreg.recipes import load_recipe, recipe_names

_HOMES = {
    "imgreg.api.workspace": ("Workspace",),
    "imgreg.api.run": ("TrainedRun", "load_run"),
    "imgreg.api.result": ("ComparisonResult", "Explained", "Result"),
    "imgreg.api.table": ("Table",),
    "imgreg.config": ("Recipe",),
    "imgreg.recipes": ("load_recipe", "recipe_names"),
    "imgreg.errors": (
        "ArtefactError",
        "BusyError",
        "DatasetError",
        "DivergedError",
        "FeatureError",
        "ImgregError",
        "MachineError",
        "PhotoError",
        "UsageError",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ArtefactError",
    "BusyError",
    "ComparisonResult",
    "DatasetError",
    "DivergedError",
    "Explained",
    "FeatureError",
    "ImgregError",
    "MachineError",
    "PhotoError",
    "Recipe",
    "Result",
    "Table",
    "TrainedRun",
    "UsageError",
    "Workspace",
    "__version__",
    "load_recipe",
    "load_run",
    "recipe_names",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'imgreg' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
