"""With cross-validation nothing that is set beside the heads has seen the photo that it answers for."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conftest import imgreg, paint_set
from imgreg.api.verify import recorded_settings
from imgreg.config import Base, Photos, Settings
from imgreg.data.index import labels_of
from imgreg.data.shuffled import with_shuffled_labels
from imgreg.features.cache import FeatureCache
from imgreg.features.extract import FeatureSource
from imgreg.heads.store import load_head
from imgreg.paths import cache_folder
from imgreg.progress import Watcher
from imgreg.recipes import load_recipe
from imgreg.runs.folder import Run, read_run
from imgreg.session import Session
from imgreg.training.backbone import Backbone
from imgreg.training.baselines import baselines_of_split, predict_baselines
from imgreg.training.data_quality import assess_data_quality, describe
from imgreg.training.dataset import Dataset, prepare_dataset
from imgreg.training.prepare import Prepared, prepare
from imgreg.training.sanity_baselines import _cheap, sanity_of_run

N_FOLDS = 3


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Dataset, Prepared]]:
    """24 photos in 3 folds, their features in the cache. Four are there again as PNG: near-duplicates that nobody
    looked for, and that therefore fall into folds as they come."""
    from PIL import Image

    data = paint_set(tmp_path_factory.mktemp("folds") / "data", n_each=10, seed=500)
    for path in [*sorted((data / "cold").iterdir())[:2], *sorted((data / "warm").iterdir())[:2]]:
        with Image.open(path) as photo:
            photo.save(path.with_suffix(".png"))
    settings = Settings(
        recipe=load_recipe("tiny"), base=Base(weights="starter", image_size=64), photos=Photos(folds=N_FOLDS)
    )
    dataset = prepare_dataset(data, settings.photos, base=None, session=Session())
    base = Backbone(settings.base, watcher=Watcher())
    with FeatureCache(cache_folder(), say=print) as cache:
        yield dataset, prepare(dataset, base=base, settings=settings, cache=cache, watcher=Watcher())


@pytest.fixture
def source(ready: tuple[Dataset, Prepared]) -> FeatureSource:
    return ready[1].source


def test_a_photo_is_no_twin_of_itself(ready: tuple[Dataset, Prepared], source: FeatureSource) -> None:
    """Its nearest photo is in another fold, and is the nearest of those in other folds."""
    split = ready[0].split
    found = assess_data_quality(split, classes=ready[0].index.classes, source=source).duplicates
    folds = np.array(split.folds)
    assert (folds[found.nearest] != folds).all()
    described = describe(split.train, source=source)
    for row, nearest in enumerate(found.nearest):
        others = np.flatnonzero(folds != folds[row])
        middle = described[others].mean(axis=0, dtype=np.float64)
        unit = (described - middle) / np.linalg.norm(described - middle, axis=1, keepdims=True)
        cosines = unit[others] @ unit[row]
        assert nearest == others[cosines.argmax()]
        assert found.similarity[row] == pytest.approx(cosines.max(), abs=1e-6)


def test_copies_in_different_folds_are_twins_of_each_other(
    ready: tuple[Dataset, Prepared], source: FeatureSource
) -> None:
    """Both of a pair are found, where a fold's head was trained on the one and answers for the other."""
    split = ready[0].split
    found = assess_data_quality(split, classes=ready[0].index.classes, source=source).duplicates
    place = {str(photo.path): row for row, photo in enumerate(split.train)}
    pairs = [(place[str(Path(path).with_suffix(".jpg"))], row) for path, row in place.items() if path.endswith(".png")]
    apart = [(a, b) for a, b in pairs if split.folds[a] != split.folds[b]]
    assert apart
    for a, b in apart:
        assert (found.nearest[a], found.nearest[b]) == (b, a)
        assert found.found[[a, b]].all()
    for a, b in set(pairs) - set(apart):
        assert (found.nearest[a] != b, found.nearest[b] != a) == (True, True)


def test_each_fold_has_its_own_baseline(ready: tuple[Dataset, Prepared], source: FeatureSource) -> None:
    """A photo's answer is that of the regression which was fitted without its fold, in the photos' order."""
    dataset = ready[0]
    classes, split = dataset.index.classes, dataset.split
    together = baselines_of_split(split, classes=classes, source=source, watcher=Watcher())
    assert len(together) == 2
    losses = []
    for of_train, of_val in split.rows:
        train, val = [split.train[row] for row in of_train], [split.val[row] for row in of_val]
        alone = predict_baselines(train, val, classes=classes, source=source, watcher=Watcher())
        losses.append([one.train_loss for one in alone])
        for one, pooled in zip(alone, together, strict=True):
            assert one.name == pooled.name
            np.testing.assert_array_equal(pooled.probabilities[of_val], one.probabilities)
    np.testing.assert_allclose([one.train_loss for one in together], np.mean(losses, axis=0))


def test_each_fold_has_its_own_controls(ready: tuple[Dataset, Prepared]) -> None:
    """Loss and accuracy are those of answers that were fitted without the photo's fold."""
    dataset, prepared = ready
    classes, split = dataset.index.classes, dataset.split
    labels = labels_of(split.val, classes)
    for one in sanity_of_run(("majority", "colour-histogram"), dataset, prepared, watcher=Watcher()):
        answers = np.zeros((len(labels), 2))
        for of_train, of_val in split.rows:
            train, val = [split.train[row] for row in of_train], [split.val[row] for row in of_val]
            answers[of_val] = _cheap(one.name, train, val, classes=classes)
        own = answers[np.arange(len(labels)), labels]
        assert one.loss == pytest.approx(-np.log(own.clip(1e-7, 1 - 1e-7)).mean())
        assert one.accuracy == pytest.approx((answers.argmax(axis=1) == labels).mean())


def test_shuffled_labels_leave_the_scored_side_alone(ready: tuple[Dataset, Prepared]) -> None:
    """In folds the same photos are trained on with shuffled labels and scored by their own labels."""
    split = ready[0].split
    shuffled = with_shuffled_labels(split, seed=0)
    assert shuffled.val == split.val
    assert [photo.label for photo in shuffled.train] != [photo.label for photo in split.train]
    assert [photo.sha256 for photo in shuffled.train] == [photo.sha256 for photo in split.train]
    assert shuffled.folds == split.folds


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory):
    """Two recipes cross-validated on 16 photos, with 8 given as a test split."""
    root = tmp_path_factory.mktemp("compared")
    paint_set(root / "data" / "train", n_each=8, seed=600)
    paint_set(root / "data" / "test", n_each=4, seed=700)
    done = imgreg(
        *("compare", root / "data", "--recipes", "tiny,plain", "--folds", "2", "--weights", "starter"),
        *("--image-size", "64", "--epochs", "2", "--set", "head.units=[8]", "--set", "prediction.mirror=true"),
        *("--sanity-baselines", "shuffled-labels", "--models", root / "models", "--name", "c", "--json"),
    )
    assert done.code == 0, done.err
    return root, done


def test_compared_heads_are_paired_over_all_photos(compared) -> None:
    """Each photo counts once in the effect, by the heads that did not see it; the page says so."""
    root, done = compared
    assert [run["n_folds"] for run in done.json["runs"]] == [2, 2]
    (effect,) = done.json["effects"]
    assert effect["n_photos"] == 16
    assert done.json["warnings"] == []
    page = (root / "models" / "c" / "report.html").read_text(encoding="utf-8")
    assert "16 photos in 2-fold cross-validation" in page
    assert "on the same 16 photos, each scored by the head that never saw it" in page
    assert [one["name"] for one in done.json["runs"][0]["sanity_baselines"]] == ["shuffled-labels"]


def test_test_photos_are_answered_by_all_heads(compared) -> None:
    """The kept test probabilities are predict's: the mean over heads, photo and mirror image; no head saw them."""
    root, _ = compared
    run = read_run(root / "models" / "c-plain")
    assert len(load_head(run.folder).heads) == 2
    tested = [row for row in run.split if row.on("test")]
    assert {row.split for row in run.split} == {"fold-1", "fold-2", "test"}
    paths = [root / "data" / row.path for row in tested]
    done = imgreg("predict", *paths, "--run", run.folder, "--csv")
    assert done.code == 0, done.err
    said = np.array([[float(row["cold"]), float(row["warm"])] for row in csv.DictReader(done.out.splitlines())])
    assert run.test_probabilities is not None
    assert run.summary.calibration is not None
    assert run.summary.calibration.temperature == 1  # too few photos to calibrate
    np.testing.assert_allclose(said, run.test_probabilities, atol=1e-3)


def test_the_page_says_what_figures_are_of(compared) -> None:
    """Scores and mistakes of a tested run are of its test photos, baselines of the photos in folds."""
    root, _ = compared
    page = (root / "models" / "c-plain" / "report.html").read_text(encoding="utf-8")
    assert "Scores of the saved heads on the 8 test photos, which they never saw" in page
    assert "This run keeps its 2 heads as of the best epoch" in page
    assert "each photo trains 1 of the 2 heads" in page
    assert "validation photos" not in page


def kept(run: Run, *, n_folds: int, photos: str) -> Run:
    return replace(
        run, summary=run.summary.model_copy(update={"n_folds": n_folds}), config_toml=f'{photos}[recipe]\nname = "x"\n'
    )


@pytest.mark.parametrize(
    ("n_folds", "photos", "expected"),
    [
        (5, '[photos]\nfolds = "auto"\nval_fraction = 0.2\n', 5),
        (0, '[photos]\nfolds = "auto"\nval_fraction = 0.2\n', 0),
        (0, "[photos]\nval_fraction = 0.2\n", 0),
    ],
    ids=["auto chose folds", "--val-fraction asked for one split", "a run of an older imgreg"],
)
def test_verify_trains_on_the_folds_that_were(compared, n_folds: int, photos: str, expected: int) -> None:
    """auto is not asked again: what it chose then is what is trained now, also where a default was typed."""
    run = read_run(compared[0] / "models" / "c-plain")
    settings = recorded_settings(kept(run, n_folds=n_folds, photos=photos))
    assert settings.photos.folds == expected
    assert "val_fraction" not in settings.photos.model_fields_set


def test_folds_and_a_share_contradict_each_other(compared, tmp_path: Path) -> None:
    """Each option is refused where it would have no effect, before anything is trained."""
    data = compared[0] / "data" / "train"
    for asked, says in (
        (("--folds", "3", "--val-fraction", "0.3"), "--val-fraction has no effect with --folds"),
        (("--folds", "1"), "--folds 1: expected 2 or more"),
        (("--folds", "9"), "has 8 different photos: 9 folds need"),
    ):
        done = imgreg("train", data, *asked, "--models", tmp_path, "--weights", "starter")
        assert (done.code in (2, 3), says in done.err) == (True, True), done.err
    shutil.copytree(data, tmp_path / "given" / "train")
    paint_set(tmp_path / "given" / "val", n_each=2, seed=800)
    done = imgreg("train", tmp_path / "given", "--folds", "3", "--models", tmp_path, "--weights", "starter")
    assert (done.code, "--folds has no effect" in done.err) == (2, True)
