"""imgreg extract: the features that the other commands would compute, ahead."""

from __future__ import annotations

from conftest import Trained, imgreg

ARGUMENTS = ("--weights", "starter", "--image-size", "64", "--views", "2")


def test_only_what_the_cache_lacks_is_computed(trained: Trained) -> None:
    """After a training on a split, the augmented views of its validation photos alone; then nothing."""
    n_val = trained.document["n_val"]
    first = imgreg("extract", trained.data, *ARGUMENTS, "--json").json
    assert (first["n_photos"], first["n_computed"], first["n_read"]) == (
        32,
        2 * n_val,
        4 * 32 - 2 * n_val,
    )  # photos, mirror images and two views
    assert first["features_per_second"] > 0
    again = imgreg("extract", trained.data, *ARGUMENTS)
    assert again.out.startswith("32 photos: 0 features computed in ")
    assert "128 read from the cache, " in again.out
