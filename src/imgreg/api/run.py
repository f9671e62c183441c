"""A trained run as a Python object: its curves, its verdict, and its classifier."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from functools import cached_property
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from imgreg.analysis.conclusion import conclude
from imgreg.api.display import watching
from imgreg.api.result import Explained, Result, figure_html, tables_html
from imgreg.api.table import Table
from imgreg.config import CurveStyle
from imgreg.errors import PhotoError
from imgreg.heads.store import load_card
from imgreg.heads.summary import summarize_plan
from imgreg.runs.folder import Run, read_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from imgreg.api.classifier import Classifier
    from imgreg.api.export import Exported
    from imgreg.api.prediction import Prediction
    from imgreg.runs.summary import RunSummary, Verdict

PathLike = str | Path


def load_run(folder: PathLike) -> TrainedRun:
    """Read a finished run.

    Parameters
    ----------
    folder : str or Path
        A folder written by `imgreg train` or `Workspace.train`, such as models/first-try.

    Raises
    ------
    ArtefactError
        If the folder is not a run, or one of its files is damaged or was modified.
    """
    return TrainedRun(read_run(Path(folder)))


class TrainedRun:
    """A finished run. In a notebook it shows its verdict, figures and curves.

    Examples
    --------
    ::

        run = imgreg.load_run("models/first-try")
        run.predict("photo.jpg").label
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def folder(self) -> Path:
        """Where the run's files are."""
        return self._run.folder

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.summary.name

    @property
    def summary(self) -> RunSummary:
        """All results of the run, as in metrics.json."""
        return self._run.summary

    @property
    def verdict(self) -> Verdict:
        """What the curves say: a label, a sentence, the next step and the evidence."""
        return self.summary.verdict

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the probabilities."""
        return self.summary.classes

    @property
    def history(self) -> Table:
        """One row per epoch; train and validation are scored the same way. Losses are cross-entropies in nats."""
        return Table([vars(row) | {"gap": row.gap} for row in self._run.history.epochs])

    @property
    def val_probabilities(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(n_val, n_classes) float32: probabilities of the validation photos, in the order of `val_photos`."""
        kept: np.ndarray[Any, np.dtype[np.float32]] = self._run.history.val_probabilities[self.summary.kept_epoch - 1]
        return kept

    @property
    def val_photos(self) -> Table:
        """Path and label of each validation photo; of each photo of a cross-validated run."""
        return Table([{"path": row.path, "label": row.label} for row in self._run.split if row.on("val")])

    @property
    def layers(self) -> Table:
        """The head's layers with their output shapes and numbers of parameters, as Keras' summary lists them."""
        card = load_card(self.folder)
        return Table([asdict(row) for row in summarize_plan(card.plan, feature_shape=card.feature_shape)])

    @property
    def report(self) -> Path:
        """The HTML report, one file that needs no network."""
        return self.folder / "report.html"

    def plot_curves(self, style: CurveStyle | None = None) -> Figure:
        """Draw loss and accuracy over the epochs, train solid and validation dashed.

        Parameters
        ----------
        style : CurveStyle, optional
            Logarithmic epochs, smoothing and limits, e.g. ``imgreg.config.CurveStyle(smooth=2, log_epochs=True)``.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from imgreg.reports.plots import curves_figure
        from imgreg.reports.rows import colour_number
        from imgreg.reports.run_axes import PlotOptions

        options = PlotOptions(style or CurveStyle(), colours=(colour_number(self.summary),))
        return curves_figure(self._run.history, title=self.name, options=options)

    def predict(
        self, photos: PathLike | Iterable[PathLike], *, confidence: float | None = None, progress: bool = True
    ) -> Prediction | list[Prediction]:
        """Classify a photo, or several.

        Parameters
        ----------
        photos : path, or paths
            Files in any format that `imgreg predict` reads.
        confidence : float, optional
            Level of the prediction sets, 0 to 1; see `imgreg predict --confidence`.

        Returns
        -------
        Prediction or list of Prediction
            One for a single path, a list for several. `label` is the predicted class, `probability` its calibrated
            probability.

        Raises
        ------
        PhotoError
            If a single photo cannot be read. With several photos, the `error` of its prediction says why.
        """
        from imgreg.api.predict import predict

        one = isinstance(photos, str | Path)
        paths = [Path(photos)] if isinstance(photos, str | Path) else [Path(photo) for photo in photos]
        with watching(progress=progress and not one) as watcher:
            answers = []
            for done, answer in enumerate(predict(paths, classifier=self._classifier(one, confidence)), start=1):
                watcher.step("predicting", done, len(paths), "")
                answers.append(answer)
        if not one:
            return answers
        if answers[0].error is not None:
            raise PhotoError(f"{paths[0]}: {answers[0].error}")
        return answers[0]

    def _classifier(self, one_photo: bool, confidence: float | None) -> Classifier:
        from imgreg.api.classifier import load_classifier

        wanted = (one_photo, confidence)
        if wanted not in self._classifiers:
            self._classifiers[wanted] = load_classifier([self.folder], one_photo=one_photo, confidence=confidence)
        return self._classifiers[wanted]

    @cached_property
    def _classifiers(self) -> dict[tuple[bool, float | None], Classifier]:
        return {}

    def evaluate(self, data: PathLike, *, split: str | None = None, reason: str = "", progress: bool = True) -> Result:
        """Score the run on labelled photos, and record that in evaluations.jsonl beside the run.

        Parameters
        ----------
        data : path
            A folder of class folders, of split folders, or a manifest (CSV or JSON Lines).
        split : {"train", "val", "test"}, optional
            Use only this split of the data.
        reason : str
            What the scores are for, to record.

        Returns
        -------
        Result
            `document` holds every metric with its 95 % bootstrap interval.
        """
        from imgreg.api.classifier import load_classifier
        from imgreg.api.evaluate import evaluate, evaluation_document

        with watching(progress=progress) as watcher:
            classifier = load_classifier([self.folder], watcher=watcher)
            done = evaluate(classifier, Path(data), split=split, reason=reason, watcher=watcher)
        document = evaluation_document(done)
        shown = [{"metric": name, **figure.model_dump()} for name, figure in done.metrics.figures.items()]
        return Result(f"{self.name} on {Path(data).name}", answer=done.notes, table=Table(shown), document=document)

    def explain(self, photo: PathLike, *, label: str | None = None) -> Explained:
        """Show which parts of a photo support a class, by Grad-CAM.

        Parameters
        ----------
        photo : path
        label : str, optional
            The class to explain; by default the predicted one.

        References
        ----------
        Selvaraju et al. 2017, arXiv:1610.02391.
        """
        from imgreg.api.explain import explain_photos

        with TemporaryDirectory() as folder:
            (done,) = explain_photos([Path(photo)], run=self.folder, out=Path(folder), label=label)
            return Explained(
                done.label, done.probability, done.answer, np.load(done.map), png=done.overlay.read_bytes()
            )

    def to_keras(self) -> Any:
        """The run as one keras.Model, from photos to the probabilities of `predict`; see api.keras_model.to_keras."""
        from imgreg.api.keras_model import to_keras

        return to_keras(self.folder)

    def export(
        self,
        to: str | Iterable[str],
        *,
        out: PathLike | None = None,
        dtype: Literal["float32", "float16"] = "float32",
        force: bool = False,
        progress: bool = True,
    ) -> list[Exported]:
        """Write the classifier for other runtimes, each format checked against imgreg's own probabilities.

        Parameters
        ----------
        to : str or iterable of str
            keras, savedmodel, onnx, litert or openvino; one or several.
        out : path, optional
            Folder that gets one folder per format; by default exports/ and the run's name.
        dtype : {"float32", "float16"}
            Of the stored weights.
        force : bool
            Replace earlier exports.
        """
        from imgreg.api.export import export_run

        formats = [to] if isinstance(to, str) else list(to)
        with watching(progress=progress) as watcher:
            return export_run(
                self.folder, to=formats, out=Path(out) if out else None, dtype=dtype, force=force, watcher=watcher
            )

    def __repr__(self) -> str:
        kept = self.summary.kept
        return (
            f"TrainedRun({self.name!r}: {self.summary.recipe_label}, validation loss {kept.val_loss:.3f}, "
            f"accuracy {kept.val_accuracy:.1%}, {self.verdict.label})"
        )

    def _repr_html_(self) -> str:
        summary = self.summary
        rows = [
            {
                "": f"{what}, epoch {scores.epoch}" + (" (kept)" if scores.epoch == summary.kept_epoch else ""),
                "train loss": scores.train_loss,
                "train accuracy": f"{scores.train_accuracy:.1%}",
                "validation loss": scores.val_loss,
                "validation accuracy": f"{scores.val_accuracy:.1%}",
                "gap": scores.gap,
            }
            for what, scores in (("best", summary.best), ("last", summary.last))
        ]
        following = summary.next_step.sentence if summary.next_step else summary.verdict.next_step
        conclusion = conclude(summary)
        sentences = [conclusion.curves, summary.against_baselines, f"Next: {following}", *summary.warnings]
        return (
            f"<h3>{escape(self.name)}</h3><p><b>{escape(conclusion.sentence)}</b></p>"
            + "".join(f"<p>{escape(line)}</p>" for line in sentences if line)
            + tables_html(Table(rows))
            + figure_html(self.folder / "curves.svg", alt="Loss and accuracy by epoch, train and validation")
            + f"<p>Report: {escape(str(self.report))}</p>"
        )
