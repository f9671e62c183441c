"""The comparison's table and what makes runs not comparable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imgreg.analysis.compare import comparison_table, same_conditions, shared_suspicions
from imgreg.runs.folder import Run, SplitRow
from imgreg.runs.summary import FeatureCounts, RunSummary, Scores, Seconds, Suspicion, Verdict


def scores(epoch, train_loss, val_loss):
    return Scores(
        epoch=epoch,
        train_loss=train_loss,
        train_accuracy=0.9,
        val_loss=val_loss,
        val_accuracy=0.8,
        gap=val_loss - train_loss,
    )


def summary(name, *, best, last):
    return RunSummary(
        run=f"models/{name}",
        name=name,
        recipe=name,
        created="2026-01-05T09:30:00Z",
        command="imgreg train",
        seed=0,
        weights="starter",
        weights_sha256="ab" * 32,
        weights_note="",
        image_size=128,
        engine="keras",
        precision="float32",
        augmentation="none",
        n_views=0,
        classes=("ants", "bees"),
        n_train=4,
        n_val=2,
        n_test=0,
        n_skipped=0,
        n_parameters=10,
        epochs_run=last.epoch,
        best_epoch=best.epoch,
        kept_epoch=best.epoch,
        best=best,
        kept=best,
        last=last,
        test=None,
        verdict=Verdict(label="overfitting", sentence="", next_step="", evidence={}),
        seconds=Seconds(photos=1, keras=1, features=1, head=1, total=3),
        features=FeatureCounts(n_computed=6, n_read=0),
        warnings=(),
    )


PLAIN = summary("plain", best=scores(5, 0.2, 0.5), last=scores(100, 0.0, 1.0))
REGULARIZED = summary("regularized", best=scores(80, 0.25, 0.4), last=scores(100, 0.2, 0.45))


def test_overrides_tell_runs_apart():
    """Runs of one recipe are called by what differs between them, and overrides that all share are left out."""
    bn, longer = "head.normalization=before_activation", "training.epochs=30"
    plain, changed = (PLAIN.model_copy(update={"overrides": it}) for it in ((longer,), (bn, longer)))
    other = REGULARIZED.model_copy(update={"overrides": (longer, "head.l2=0.1")})
    rows = comparison_table([plain, changed, other])
    assert [row.name for row in rows] == ["plain", f"plain + {bn}", "regularized + head.l2=0.1"]
    assert [row.recipe for row in rows] == ["plain", "plain", "regularized"]
    assert rows[1].overrides == (bn, longer)


@pytest.fixture
def run(plant):
    split = tuple(
        SplitRow(f"ants/{i}.jpg", ("ants", "bees")[i % 2], "train" if i < 4 else "val", f"{i:064x}") for i in range(6)
    )
    return Run(Path("models/plain"), PLAIN, plant(np.ones(3), np.ones((3, 2))), split, (), "", {})


def changed(run, **values):
    return replace(run, summary=run.summary.model_copy(update={"recipe": "other", **values}))


def test_gaps_are_validation_minus_train_and_the_first_run_is_the_control():
    """Gaps are validation minus train loss; shares are those of the first run's last gap."""
    plain, regularized = comparison_table([PLAIN, REGULARIZED])
    assert (plain.gap_kept, plain.gap_last, plain.gap_share) == pytest.approx((0.3, 1.0, 1.0))
    assert (regularized.gap_kept, regularized.gap_last, regularized.gap_share) == pytest.approx((0.15, 0.25, 0.25))
    assert (regularized.best_epoch, regularized.best_val_loss, regularized.last_val_loss) == (80, 0.4, 0.45)
    assert regularized.last_train_loss == 0.2


def test_no_share_of_a_gap_that_is_not_there():
    """Where the control has no gap, or a negative one, no share is given."""
    control = summary("plain", best=scores(1, 0.5, 0.5), last=scores(2, 0.6, 0.5))
    assert [row.gap_share for row in comparison_table([control, PLAIN])] == [None, None]


@pytest.mark.parametrize(
    ("of_control", "of_run", "low"),
    [(0.02, 0.3, None), (0.5, -0.3, None), (0.5, 6.0, None), (0.5, 0.25, -0.1), (-0.1, 0.3, None)],
    ids=["next to no gap", "below 0", "twelve times", "a gap that may be chance", "control below 0"],
)
def test_no_share_that_would_mislead(of_control: float, of_run: float, low: float | None) -> None:
    """Where a share would be impossible or a share of noise there is none, but the difference in nats."""
    judged = Verdict(label="overfitting", sentence="", next_step="", evidence={"gap_last_low": low})
    control = summary("plain", best=scores(1, 0.1, 0.5), last=scores(2, 0.1, 0.1 + of_control))
    run = summary("l2", best=scores(1, 0.4, 0.5), last=scores(2, 0.4, 0.4 + of_run))
    _, row = comparison_table([control.model_copy(update={"verdict": judged}), run])
    assert row.gap_share is None
    assert row.gap_difference == pytest.approx(of_run - of_control)


def test_runs_are_called_by_recipe_where_that_tells_them_apart():
    """Recipes name the runs; where two share one, the runs' own names do, and namesakes are numbered."""
    first, second = (PLAIN.model_copy(update={"name": name}) for name in ("monday", "tuesday"))
    assert [row.name for row in comparison_table([first, REGULARIZED])] == ["plain", "regularized"]
    assert [row.name for row in comparison_table([first, second])] == ["monday", "tuesday"]
    assert [row.name for row in comparison_table([first, first])] == ["monday", "monday (2)"]


def test_equal_ground_has_nothing_to_say(run):
    """Runs on the same photos, in another order and under other paths, are comparable."""
    moved = tuple(replace(row, path=f"elsewhere/{row.path}") for row in reversed(run.split))
    assert same_conditions([run, replace(changed(run), split=moved)]) == ()
    assert same_conditions([run]) == same_conditions([]) == ()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"seed": 7}, "different seeds: 0 and 7"),
        ({"image_size": 224}, "different image sizes: 128 px and 224 px"),
        ({"weights": "imagenet", "weights_sha256": "cd" * 32}, "starter (abababab) and imagenet (cdcdcdcd)"),
        ({"classes": ("bees", "ants")}, "have different classes: ants, bees and bees, ants"),
    ],
)
def test_each_difference_of_ground_is_a_sentence(run, values, says):
    """Seed, image size, weights and classes: each difference gives one sentence with both values."""
    (sentence,) = same_conditions([run, changed(run, **values)])
    assert sentence.startswith("plain and other")
    assert says in sentence


def test_two_runs_of_one_recipe_are_told_apart_by_their_settings(run: Run) -> None:
    """Also where the recipe is the user's own: both values of each setting that differs."""
    ours = replace(run, config_toml='[recipe]\nname = "plain"\n[recipe.head]\nl2 = 0.1\nunits = [8]\n')
    theirs = replace(
        ours,
        config_toml='[recipe]\nname = "plain"\n[recipe.head]\nl2 = 0.2\nunits = [8]\n[recipe.training]\nepochs = 5\n',
    )
    assert same_conditions([ours, theirs]) == (
        "plain and plain (2) use the same recipe, plain, with different settings: head.l2 (0.1 and 0.2), "
        "training.epochs (not set and 5).",
    )
    assert same_conditions([ours, ours]) == same_conditions([ours, replace(theirs, config_toml="no toml [")]) == ()


def in_folds(run: Run, *names: str) -> Run:
    """The run as a cross-validation with one of these folds for each photo."""
    split = tuple(replace(row, split=name) for row, name in zip(run.split, names, strict=True))
    return replace(run, split=split, summary=run.summary.model_copy(update={"n_folds": len(set(names))}))


def test_other_folds_are_told(run: Run) -> None:
    """Another number of folds, or the same photos in other folds, cannot be compared photo by photo; other numbers of
    the same folds can."""
    halves = in_folds(run, *["fold-1", "fold-2"] * 3)
    thirds = in_folds(changed(run), *["fold-1", "fold-2", "fold-3"] * 2)
    otherwise = in_folds(changed(run), *["fold-1"] * 3, *["fold-2"] * 3)
    renumbered = in_folds(changed(run), *["fold-2", "fold-1"] * 3)
    assert same_conditions([halves, thirds]) == (
        "plain and other were split differently: 2-fold cross-validation and 3-fold cross-validation.",
    )
    assert same_conditions([halves, otherwise]) == ("plain and other assign the photos to different folds.",)
    assert same_conditions([halves, renumbered]) == ()
    told = same_conditions([halves, changed(run)])
    assert "plain and other were not validated on the same photos: 6 and 2, 2 in common." in told
    assert "plain and other were split differently: 2-fold cross-validation and a single split." in told


def test_other_validation_photos_are_counted(run):
    """One validation photo with other bytes, or another label, makes the runs not comparable."""
    *same, last = run.split
    other_bytes = replace(changed(run), split=(*same, replace(last, sha256="f" * 64)))
    other_label = replace(changed(run), split=(*same, replace(last, label="ants")))
    for other in (other_bytes, other_label):
        assert same_conditions([run, other]) == (
            "plain and other were not validated on the same photos: 2 and 2, 1 in common.",
        )


def test_a_suspicion_that_runs_share_is_said_once(run: Run) -> None:
    """The same twins in both runs are one sentence; other twins are another."""

    def doubting(n_duplicates: int, loss: float) -> Run:
        it = Suspicion(kind="leakage", sentence=f"{n_duplicates} twins, {loss}.", next_step="Look.", evidence={})
        it = it.model_copy(update={"evidence": {"n_duplicates": n_duplicates, "val_loss_without_duplicates": loss}})
        return changed(run, verdict=run.summary.verdict.model_copy(update={"suspicions": (it,)}))

    assert shared_suspicions([run, run]) == ()
    said = shared_suspicions([doubting(3, 0.5), doubting(3, 0.6), doubting(4, 0.7)])
    assert [line.partition(": ")[2] for line in said] == ["3 twins, 0.5. Look.", "4 twins, 0.7. Look."]
