"""Where runs and cached features go, and every analysis that writes there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imgreg.api.display import watching
from imgreg.api.result import ComparisonResult, Result, TuneResult
from imgreg.api.results import (
    check_result,
    comparison_result,
    label_issues_result,
    learning_curve_result,
    learning_rate_result,
    study_result,
    tune_result,
)
from imgreg.api.run import PathLike, TrainedRun, load_run
from imgreg.api.table import Table
from imgreg.config import CHEAP_BASELINES, SWEEPS, Base, Recipe
from imgreg.errors import UsageError
from imgreg.recipes.settings import build_settings, tuning_from
from imgreg.recipes.topics import StudyPlan, plan_study
from imgreg.runs.find import find_run
from imgreg.runs.folder import list_runs
from imgreg.session import Session


@dataclass(frozen=True)
class Workspace:
    """A folder of runs. Its methods do the same as the commands of the same name, and write the same files.

    Parameters
    ----------
    models : path
        Folder that holds the runs; created with the first run.
    cache_gb : float, optional
        Maximum size of the feature cache in gigabytes, 20 by default. The cache is in $IMGREG_CACHE, or in the user's
        cache folder.
    progress : bool
        Show progress bars, in a notebook or on a terminal. Warnings always go to the logger `imgreg`.
    workers : int, optional
        Processes that train heads at the same time, in `compare` with repeats, `study`, `tune`, `learning_curve` and
        `label_issues`; by default one per core, as far as memory allows, once more than 20 s of training is left and
        other programs do not use the cores. The results are bit-identical either way.
    ray : str, optional
        Address of a Ray cluster that computes features and trains these heads instead: auto, HOST:PORT,
        ray://HOST:10001, or local.

    Notes
    -----
    Every training method also accepts the options of the command line, with underscores: epochs, batch_size,
    patience, learning_rate, dropout, l2, views, finetune, augment, val_fraction, split_seed, max_bad, allow_leakage,
    weights, image_size, engine, precision, preprocessing, stored, seed; and `overrides`, which maps dotted keys of the
    recipe to values, such as {"head.units": [64, 64]}.

    Examples
    --------
    ::

        ws = imgreg.Workspace("models")
        run = ws.train("data/", epochs=50)
        run.predict("photo.jpg").label
    """

    models: PathLike = "models"
    cache_gb: float | None = None
    progress: bool = True
    workers: int | None = None
    ray: str | None = None

    def train(
        self,
        data: PathLike,
        *,
        recipe: str | Recipe = "regularized",
        name: str | None = None,
        sanity_baselines: Sequence[str] = CHEAP_BASELINES,
        tensorboard: bool = False,
        resume: bool | None = None,
        head: Any = None,
        callbacks: Sequence[Any] = (),
        **options: Any,
    ) -> TrainedRun:
        """Train a head on the frozen features of a folder of photos.

        Parameters
        ----------
        data : path
            A folder of class folders, of train/ and val/ (and test/) with those inside, or of tar or Parquet files; the
            address of one in an object store (s3://, gs://, az://); or a CSV or JSON Lines file
            with path,label[,split].
        recipe : str or Recipe
            A bundled recipe's name, a TOML file, or a Recipe.
        name : str, optional
            Name of the run folder; by default time and recipe.
        sanity_baselines : sequence of str
            Baselines that ignore the image content: majority, colour-histogram, file-metadata, shuffled-labels.
        tensorboard : bool
            Also write TensorBoard event files.
        resume : bool, optional
            Resume an interrupted training of the same photos and settings: by default if possible.
        head : keras.Model or callable, optional
            A head in place of the recipe's: a Sequential, or another chain of layers, from the feature map (h, w, 512)
            to softmax outputs or one sigmoid output; a function gets (h, w, 512) and returns one. A model without a
            pooling layer is put behind the recipe's pool. Its layers are taken, not its weights: training starts from
            new initial weights, for each fold its own, drawn with `seed`. If the model is compiled, its optimizer (with
            a constant learning rate) and its loss replace the recipe's; metrics do not matter. AdamW decays kernels
            only.
            Supported layers: Dense, Activation, Dropout, BatchNormalization, LayerNormalization, and first Flatten,
            GlobalAveragePooling2D or GlobalMaxPooling2D.
        callbacks : sequence of keras.callbacks.Callback
            Called at the beginning and end of training and of each epoch of the head, not of fine-tuning and not of
            batches. `logs` has loss, accuracy, val_loss and val_accuracy as in `history`: plain cross-entropy of the
            clean photos in inference mode. `self.model` is the head, with cross-validation that of the last fold;
            setting its `stop_training` stops, and the best epoch is kept then. A training with callbacks always
            starts at its first epoch and cannot be resumed, since callbacks cannot be compared.
        **options
            See the class, and `folds`: the number of folds of a cross-validation, 0 for a single split.

        Raises
        ------
        DatasetError
            If the photos cannot be used as a dataset.
        UsageError
            For an option that does not exist, or does not fit the others.
        DivergedError
            If the loss became NaN or infinite; the best epoch before that was saved.
        """
        from imgreg.api.train import train

        if callbacks and resume:
            raise UsageError("resume = True: a training with callbacks cannot be resumed. Omit one of them.")
        if head is None and not callbacks:
            settings = build_settings(recipe, options)
        else:
            from imgreg.api.keras_head import keras_settings

            settings = keras_settings(recipe, options, head=head, callbacks=callbacks)
        with self._session(name=name, resume=resume) as session:
            session = replace(session, callbacks=tuple(callbacks))
            summary = train(
                Path(data),
                settings=settings,
                session=session,
                sanity_baselines=sanity_baselines,
                tensorboard=tensorboard,
            )
        return load_run(summary.run)

    def compare(
        self,
        data: PathLike,
        recipes: Sequence[str | Recipe] = ("plain", "regularized"),
        *,
        repeats: int | None = None,
        name: str | None = None,
        sanity_baselines: Sequence[str] = CHEAP_BASELINES,
        resume: bool | None = None,
        **options: Any,
    ) -> ComparisonResult:
        """Train several recipes on the same split, or on many.

        Parameters
        ----------
        data : path
            As in `train`.
        recipes : sequence of str or Recipe
            The recipes to compare; the first is the control.
        repeats : int, optional
            Train each recipe on this many splits and compare the paired scores; no runs are saved. By default, train
            once and save the runs.
        **options
            As in `train`.
        """
        if isinstance(recipes, str):
            raise UsageError(f"recipes = {recipes!r}: expected a list of recipes, e.g. ['plain', 'regularized'].")
        folds = options.pop("folds", None)
        split = options if repeats is not None else options | {"folds": folds}
        settings = [build_settings(one, split, ranges_where_augmented=True) for one in recipes]
        with self._session(name=name, resume=resume) as session:
            if repeats is not None:
                from imgreg.api.study import study

                plan = StudyPlan(tuple(settings))
                done = study(
                    Path(data),
                    plan,
                    repeats=repeats,
                    folds=folds or 0,
                    session=session,
                    sanity_baselines=sanity_baselines,
                )
                return study_result(f"Comparison on {repeats} splits", done)
            from imgreg.api.compare import compare

            return comparison_result(
                compare(Path(data), settings=settings, session=session, sanity_baselines=sanity_baselines)
            )

    def study(
        self,
        data: PathLike,
        topics: Sequence[str] = ("ladder",),
        *,
        repeats: int = 5,
        folds: int = 0,
        name: str | None = None,
        resume: bool | None = None,
        **options: Any,
    ) -> Result:
        """Train the recipes of some topics on repeated splits, and compare each with plain.

        Parameters
        ----------
        topics : sequence of str
            Any of ladder, capacity, weights, dropout, normalization, initializer, activation, schedule,
            augmentation, all.
        repeats : int
            Number of random splits.
        folds : int
            Test every photo once per repeat, in this many folds; 0 for single splits.
        **options
            As in `train`.
        """
        from imgreg.api.study import study

        plan = plan_study(topics, options)
        with self._session(name=name, resume=resume) as session:
            done = study(Path(data), plan, repeats=repeats, folds=folds, session=session)
        return study_result(f"Study of {', '.join(topics)} on {repeats} splits", done)

    def tune(
        self,
        data: PathLike,
        *,
        recipe: str | Recipe = "regularized",
        space: PathLike | None = None,
        name: str | None = None,
        resume: bool | None = None,
        **options: Any,
    ) -> TuneResult:
        """Search for a better recipe, score the search on photos that it never saw, and train a run with the result.

        Parameters
        ----------
        recipe : str or Recipe
            The recipe to begin with, which is the first trial.
        space : path, optional
            A TOML file of what to vary; by default the space that comes with imgreg.
        **options
            As in `train`, and of the search (`config.Tuning`): `trials`, the number of recipes that each search tries;
            `seconds`, after which the searches end with the trials finished by then; `folds`, the outer folds, which
            score the search; `inner_folds`, on which it compares recipes.
        """
        from imgreg.api.tune import tune
        from imgreg.recipes.search_space import DEFAULT_SPACE, load_space

        tuning, others = tuning_from(options)
        settings = build_settings(recipe, others)
        with self._session(name=name, resume=resume) as session:
            done = tune(
                Path(data),
                settings=settings,
                space=load_space(DEFAULT_SPACE if space is None else Path(space)),
                tuning=tuning,
                session=session,
            )
        return tune_result(Path(data), done)

    def learning_curve(
        self,
        data: PathLike,
        *,
        recipe: str | Recipe = "regularized",
        repeats: int = 5,
        more: int = 200,
        name: str | None = None,
        resume: bool | None = None,
        **options: Any,
    ) -> Result:
        """Estimate the gain from more photos, from heads trained on smaller and smaller subsets.

        Parameters
        ----------
        repeats : int
            Number of random splits.
        more : int
            Number of additional train photos to extrapolate to.
        **options
            As in `train`.
        """
        from imgreg.api.learning_curve import find_learning_curve

        settings = build_settings(recipe, options)
        with self._session(name=name, resume=resume) as session:
            done = find_learning_curve(Path(data), settings=settings, repeats=repeats, more=more, session=session)
        return learning_curve_result(Path(data), done)

    def lr_find(
        self,
        data: PathLike,
        *,
        recipe: str | Recipe = "regularized",
        sweeps: int = SWEEPS,
        name: str | None = None,
        **options: Any,
    ) -> Result:
        """Find a range of useful learning rates, from heads trained while the rate grows from step to step.

        Parameters
        ----------
        sweeps : int
            Number of heads whose curves are averaged.
        **options
            As in `train`.
        """
        from imgreg.api.lr_find import find_learning_rate

        settings = build_settings(recipe, options)
        with self._session(name=name, resume=None) as session:
            done = find_learning_rate(Path(data), settings=settings, sweeps=sweeps, session=session)
        return learning_rate_result(Path(data), done)

    def label_issues(
        self,
        data: PathLike,
        *,
        recipe: str | Recipe = "low_lr",
        repeats: int = 3,
        folds: int = 5,
        name: str | None = None,
        resume: bool | None = None,
        **options: Any,
    ) -> Result:
        """Rank the photos by how likely their label is wrong, according to heads that never saw them.

        Parameters
        ----------
        repeats : int
            Number of cross-validations, each with other folds.
        folds : int
            Folds of each, 2 or more: every photo is scored by the head of its fold.
        **options
            See the class.

        Raises
        ------
        DatasetError
            If the photos cannot be used as a dataset.
        UsageError
            For an option that does not exist, or fewer than 2 folds.
        """
        from imgreg.api.label_issues import find_label_issues

        settings = build_settings(recipe, options)
        with self._session(name=name, resume=resume) as session:
            done = find_label_issues(Path(data), settings=settings, repeats=repeats, folds=folds, session=session)
        return label_issues_result(Path(data), done)

    def check(self, data: PathLike, *, fix: PathLike | None = None, **base: Any) -> Result:
        """Find unreadable files, duplicates, leaks between splits, class imbalance and shortcuts before training.

        Parameters
        ----------
        fix : path, optional
            Path of a CSV manifest to write, without the photos that would stop training.
        **base
            weights, image_size, engine or precision of VGG16, which confirms near-duplicates.
        """
        from imgreg.api.check import check

        with self._session() as session:
            done = check(Path(data), base=Base(**base), session=session, fix=None if fix is None else Path(fix))
        return check_result(Path(data), done)

    @property
    def runs(self) -> Table:
        """The runs in the folder, oldest first."""
        return Table(
            [
                {
                    "name": run.name,
                    "created": run.created,
                    "recipe": run.recipe_label,
                    "n_train": run.n_train,
                    "n_val": run.n_val,
                    "val_loss": run.kept.val_loss,
                    "val_accuracy": run.kept.val_accuracy,
                    "gap": run.last.gap,
                    "verdict": run.verdict.label,
                }
                for run in list_runs(Path(self.models))[0]
            ]
        )

    def load(self, name: str) -> TrainedRun:
        """Read a run of this folder by its name, or `last`.

        Raises
        ------
        UsageError
            If there is none, or it is a comparison.
        ArtefactError
            If it is damaged.
        """
        return load_run(find_run(Path(name), models=Path(self.models)))

    @contextmanager
    def _session(self, *, name: str | None = None, resume: bool | None = None) -> Iterator[Session]:
        """A session of this workspace; its progress is shown while the block runs."""
        cache_bytes = None if self.cache_gb is None else round(self.cache_gb * 1e9)
        with watching(progress=self.progress) as watcher:
            yield Session(
                models=Path(self.models),
                name=name,
                cache_bytes=cache_bytes,
                resume=resume,
                workers=self.workers,
                ray=self.ray,
                watcher=watcher,
            )
