"""augment.py: views are bytes that depend on (photo, settings, seed, view) and on nothing else."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imgreg.config import Augmentation
from imgreg.data.augment import Augmenter
from imgreg.errors import ArtefactError

BACKENDS = ["keras", "albumentations"]
PHOTO = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)


def views(augmenter: Augmenter, numbers: list[int], *, sha256: str = "ab") -> list[bytes]:
    return [augmenter.view(PHOTO, sha256=sha256, view=number).tobytes() for number in numbers]


@pytest.mark.parametrize("backend", BACKENDS)
def test_order_and_threads_do_not_matter(backend: str) -> None:
    """The same view has the same bytes forwards, backwards, and from eight threads at once."""
    augmenter = Augmenter(Augmentation(backend=backend), seed=3, size_px=48)
    forwards = views(augmenter, list(range(12)))
    assert views(augmenter, list(range(11, -1, -1)))[::-1] == forwards
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda number: views(augmenter, [number])[0], range(12))) == forwards


@pytest.mark.parametrize("backend", BACKENDS)
def test_another_process_makes_the_same_view(backend: str) -> None:
    """A fresh interpreter makes the same bytes."""
    code = (
        "import sys, hashlib, numpy as np\n"
        "from imgreg.config import Augmentation\n"
        "from imgreg.data.augment import Augmenter\n"
        "photo = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)\n"
        f"view = Augmenter(Augmentation(backend={backend!r}), seed=3, size_px=48).view(photo, sha256='ab', view=5)\n"
        "sys.stdout.write(view.tobytes().hex())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert bytes.fromhex(done.stdout) == views(Augmenter(Augmentation(backend=backend), seed=3, size_px=48), [5])[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_photo_view_seed_and_settings_each_change_the_bytes(backend: str) -> None:
    """Nothing that should matter is left out of the draw."""
    here = views(Augmenter(Augmentation(backend=backend), seed=0, size_px=48), [1])[0]
    assert views(Augmenter(Augmentation(backend=backend), seed=0, size_px=48), [2])[0] != here
    assert views(Augmenter(Augmentation(backend=backend), seed=1, size_px=48), [1])[0] != here
    assert views(Augmenter(Augmentation(backend=backend), seed=0, size_px=48), [1], sha256="cd")[0] != here
    assert views(Augmenter(Augmentation(backend=backend, zoom_range=0.3), seed=0, size_px=48), [1])[0] != here


def test_more_views_leave_the_first_as_they_are() -> None:
    """--views 16 makes the same first eight views as --views 8, so cached features serve both."""
    eight, sixteen = (Augmenter(Augmentation(backend="keras", views=n), seed=0, size_px=48) for n in (8, 16))
    assert eight.digest == sixteen.digest


@pytest.mark.parametrize("backend", BACKENDS)
def test_strength_is_a_factor_of_every_range(backend: str) -> None:
    """Half the strength is half of each range, to the byte; strength 1 is the setting without it."""
    ranges = {"rotation_range": 30, "width_shift_range": 0.2, "height_shift_range": 0.1, "shear_range": 8}
    half = {name: value / 2 for name, value in ranges.items()}
    strong, weak, one, none = (
        Augmenter(Augmentation(backend=backend, zoom_range=0, **settings), seed=0, size_px=48)
        for settings in (ranges | {"strength": 0.5}, half, ranges | {"strength": 1}, ranges)
    )
    assert strong.digest == weak.digest != none.digest == one.digest
    assert views(strong, [1, 2]) == views(weak, [1, 2]) != views(none, [1, 2])


@pytest.mark.parametrize("backend", BACKENDS)
def test_view_0_is_the_photo(backend: str) -> None:
    """View 0 is never augmented."""
    assert views(Augmenter(Augmentation(backend=backend), seed=0, size_px=48), [0]) == [PHOTO.tobytes()]


def test_keras_views_do_not_disturb_numpys_global_state() -> None:
    """ImageDataGenerator draws from NumPy's global state; it is put back."""
    augmenter = Augmenter(Augmentation(backend="keras"), seed=0, size_px=48)
    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    augmenter.view(PHOTO, sha256="ab", view=1)
    assert np.random.random() == expected


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("setting", "moves"),
    [
        ({"rotation_range": 30.0}, "corner"),
        ({"width_shift_range": 0.3}, "column"),
        ({"height_shift_range": 0.3}, "row"),
        ({"zoom_range": 0.4}, "scale"),
        ({"horizontal_flip": True}, "flip"),
    ],
)
def test_each_range_acts_alone_and_alike_in_both_backends(backend: str, setting: dict, moves: str) -> None:
    """One range moves the picture in its own way only, over the range that Keras documents."""
    still = {
        "rotation_range": 0.0,
        "width_shift_range": 0.0,
        "height_shift_range": 0.0,
        "shear_range": 0.0,
        "zoom_range": 0.0,
        "horizontal_flip": False,
    }
    augmenter = Augmenter(Augmentation(backend=backend, **(still | setting)), seed=0, size_px=48)
    spot = np.zeros((65, 65, 3), np.uint8)
    spot[28:37, 44:53] = 255  # a square right of the middle: its centre is (32, 48)
    centres, areas = [], []
    for view in range(1, 61):
        made = augmenter.view(spot, sha256="ab", view=view)[:, :, 0].astype(float)
        if made.sum() > 0.3 * 255:
            rows, columns = np.indices(made.shape)
            centres.append(((rows * made).sum() / made.sum(), (columns * made).sum() / made.sum()))
            areas.append(made.sum() / 255)
    rows, columns = np.array(centres).T
    if moves == "column":
        assert np.ptp(rows) < 1
        assert 12 < np.ptp(columns) < 2 * 0.3 * 65 + 1
    elif moves == "row":
        assert np.ptp(columns) < 1
        assert 25 < np.ptp(rows) < 2 * 0.3 * 65 + 1
    elif moves == "corner":
        angles = np.degrees(np.arctan2(rows - 32, columns - 32))
        assert angles.min() == pytest.approx(-30, abs=4)
        assert angles.max() == pytest.approx(30, abs=4)
    elif moves == "scale":
        assert np.ptp(rows) < 1
        assert 81 / 1.4**2 - 8 < min(areas) < 60
        assert 120 < max(areas) < 81 / 0.6**2 + 15
    else:
        assert set(np.round(columns)) == {16, 48}


def test_a_users_pipeline_is_used(tmp_path: Path) -> None:
    """A pipeline that albumentations.save wrote makes the views."""
    import albumentations

    albumentations.save(albumentations.Compose([albumentations.VerticalFlip(p=1.0)]), tmp_path / "mine.json")
    augmenter = Augmenter(
        Augmentation(backend="albumentations", pipeline=str(tmp_path / "mine.json")), seed=0, size_px=48
    )
    np.testing.assert_array_equal(augmenter.view(PHOTO, sha256="ab", view=1), PHOTO[::-1])


def test_a_pipeline_that_changes_the_size_is_refused(tmp_path: Path) -> None:
    """A crop without a resize is found before anything is computed."""
    import albumentations

    albumentations.save(albumentations.Compose([albumentations.CenterCrop(16, 16)]), tmp_path / "crop.json")
    with pytest.raises(ArtefactError, match="must preserve shape and dtype"):
        Augmenter(Augmentation(backend="albumentations", pipeline=str(tmp_path / "crop.json")), seed=0, size_px=48)


def test_a_foreign_pipeline_file_is_refused(tmp_path: Path) -> None:
    """A JSON file that is no pipeline is an error that says how to write one."""
    (tmp_path / "x.json").write_text('{"hello": 1}')
    with pytest.raises(ArtefactError, match=r"x.json: albumentations cannot load this pipeline.*albumentations.save"):
        Augmenter(Augmentation(backend="albumentations", pipeline=str(tmp_path / "x.json")), seed=0, size_px=48)


def test_a_pipeline_made_for_the_image_size_is_taken(tmp_path: Path) -> None:
    """A pipeline that crops and resizes back to --image-size is right at that size, and refused at another."""
    import albumentations as a

    a.save(a.Compose([a.RandomCrop(40, 40), a.Resize(48, 48)]), tmp_path / "crop.json")
    settings = Augmentation(backend="albumentations", pipeline=str(tmp_path / "crop.json"))
    assert Augmenter(settings, seed=0, size_px=48).view(PHOTO, sha256="ab", view=1).shape == (48, 48, 3)
    with pytest.raises(ArtefactError, match=r"crop.json: turns \(64, 64, 3\) uint8 into \(48, 48, 3\)"):
        Augmenter(settings, seed=0, size_px=64)
    with pytest.raises(ArtefactError, match="crop.json: fails on a photo of"):
        Augmenter(settings, seed=0, size_px=32)
