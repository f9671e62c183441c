"""The drawn sample: the same for the same seed, in two classes that only shape tells apart."""

from pathlib import Path

import numpy as np
import pytest
from leaves import CLASSES, draw_photo, draw_sample
from PIL import Image

from imgreg.errors import UsageError


def _bytes(paths: tuple[Path, ...], root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def test_same_seed_gives_same_bytes(tmp_path: Path) -> None:
    """Two samples of one seed hold the same files, byte for byte."""
    first, again = (_bytes(draw_sample(tmp_path / n, count=2, seed=5), tmp_path / n) for n in ("a", "b"))
    assert first == again


def test_other_seed_draws_other_photos(tmp_path: Path) -> None:
    """No file of one seed's sample has the bytes of its namesake under another seed."""
    first, other = (_bytes(draw_sample(tmp_path / str(s), count=2, seed=s), tmp_path / str(s)) for s in (5, 6))
    assert first.keys() == other.keys()
    assert all(first[name] != other[name] for name in first)


def test_larger_sample_begins_with_the_smaller(tmp_path: Path) -> None:
    """A photo does not depend on how many are drawn after it."""
    small = _bytes(draw_sample(tmp_path / "small", count=1, seed=0), tmp_path / "small")
    large = _bytes(draw_sample(tmp_path / "large", count=3, seed=0), tmp_path / "large")
    assert small.items() < large.items()


def test_photos_of_one_sample_differ(tmp_path: Path) -> None:
    """No two photos of a sample are the same, within a class or across classes."""
    written = draw_sample(tmp_path / "leaves", count=4, seed=0)
    assert len({path.read_bytes() for path in written}) == len(written)


def test_writes_count_photos_per_class_and_nothing_else(tmp_path: Path) -> None:
    """Each class folder holds exactly count files, and the returned paths are all there is."""
    root = tmp_path / "new" / "leaves"
    written = draw_sample(root, count=3, seed=0)
    assert [path.relative_to(root).as_posix() for path in written] == [
        f"{label}/{label}-{number:04d}.jpg" for label in CLASSES for number in (1, 2, 3)
    ]
    assert sorted(path for path in root.rglob("*") if path.is_file()) == sorted(written)


def test_files_are_rgb_jpegs_of_the_size_stated(tmp_path: Path) -> None:
    """Each file opens as an RGB JPEG, square, of the side asked for."""
    for path in draw_sample(tmp_path / "leaves", count=1, seed=0, size_px=96):
        with Image.open(path) as photo:
            assert (photo.format, photo.mode, photo.size) == ("JPEG", "RGB", (96, 96))


def test_photo_is_160_px_unless_told() -> None:
    """A photo's side is 160 pixels by default."""
    assert draw_photo("oak", seed=0, index=1).size == (160, 160)


def test_counts_each_photo_as_it_is_written(tmp_path: Path) -> None:
    """on_photo is called once a photo, counting from one over both classes, with that many files on disk."""
    seen = []
    root = tmp_path / "leaves"
    draw_sample(root, count=2, seed=0, on_photo=lambda done: seen.append((done, len(list(tmp_path.rglob("*.jpg"))))))
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_accepts_an_existing_empty_folder(tmp_path: Path) -> None:
    """A folder that is there but empty is filled."""
    assert len(draw_sample(tmp_path, count=1, seed=0)) == 2


def test_refuses_a_folder_with_something_in_it(tmp_path: Path) -> None:
    """A folder with a file in it is refused, and the file is left alone with nothing beside it."""
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        draw_sample(tmp_path, count=1, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_refuses_a_file_as_root(tmp_path: Path) -> None:
    """A root that is a file is refused."""
    (tmp_path / "leaves").write_text("")
    with pytest.raises(UsageError, match="not an empty folder"):
        draw_sample(tmp_path / "leaves", count=1, seed=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"count": 0}, "count is 0, expected 1 or more"),
        ({"seed": -1}, "seed is -1, expected 0 or more"),
        ({"size_px": 31}, "size_px is 31, expected 32 or more"),
    ],
)
def test_refuses_numbers_out_of_range_before_making_folders(
    tmp_path: Path, wrong: dict[str, int], message: str
) -> None:
    """A number out of range is named with the range, and no folder is made."""
    with pytest.raises(UsageError, match=message):
        draw_sample(tmp_path / "leaves", **({"count": 1, "seed": 0} | wrong))
    assert not (tmp_path / "leaves").exists()


def test_refuses_an_unknown_label() -> None:
    """A label that is not drawn is refused with those that are."""
    with pytest.raises(UsageError, match="no class 'maple', expected one of oak, rowan"):
        draw_photo("maple", seed=0, index=1)


def test_interrupted_write_leaves_no_half_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fails in the middle of a photo, nothing of the sample stays."""

    def half_a_photo(_: Image.Image, file: Path, **kwargs: object) -> None:
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", half_a_photo)
    monkeypatch.setattr("leaves.draw_photo", lambda *a, **k: Image.new("RGB", (8, 8)))
    with pytest.raises(OSError, match="No space left"):
        draw_sample(tmp_path / "leaves", count=1, seed=0)
    assert not list(tmp_path.iterdir())


def test_classes_are_alike_in_brightness_and_colour() -> None:
    """Over 40 photos a class, mean red, green and blue differ between classes by less than 3.5 standard errors."""
    means = np.array(
        [[np.asarray(draw_photo(c, seed=0, index=i, size_px=48)).mean((0, 1)) for i in range(40)] for c in CLASSES]
    )
    standard_error = np.sqrt(means.var(1, ddof=1).sum(0) / means.shape[1])
    assert (np.abs(means[0].mean(0) - means[1].mean(0)) < 3.5 * standard_error).all()
