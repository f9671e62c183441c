"""The Python API: train, compare, compare_runs, predict, preview. Each orders the rooms below it; none prints."""

from imgreg.workflows.compare import Comparison, compare, compare_runs
from imgreg.workflows.predict import Prediction, predict
from imgreg.workflows.preview import preview
from imgreg.workflows.train import train
from imgreg.workflows.watch import Watcher

__all__ = ["Comparison", "Prediction", "Watcher", "compare", "compare_runs", "predict", "preview", "train"]
