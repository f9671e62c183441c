"""folder.py: whole or not there at all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imgreg.errors import ArtefactError, BusyError, MachineError, UsageError
from imgreg.runs.atomic_folder import atomic_folder
from imgreg.runs.folder import list_runs, read_run


def test_a_folder_gets_its_name_only_when_whole(tmp_path: Path) -> None:
    """Until the block ends there is no target; after it nothing but the target and hidden locks."""
    with atomic_folder(tmp_path / "run") as folder:
        (folder / "a.txt").write_text("a")
        assert not (tmp_path / "run").exists()
    assert (tmp_path / "run" / "a.txt").read_text() == "a"
    assert {path.name for path in tmp_path.iterdir()} == {"run", ".locks"}


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """An exception in the block takes the half-made folder with it."""
    with pytest.raises(ValueError, match="stop"), atomic_folder(tmp_path / "run") as folder:
        (folder / "a.txt").write_text("a")
        raise ValueError("stop")
    assert {path.name for path in tmp_path.iterdir()} == {".locks"}


def test_an_existing_run_is_never_overwritten(tmp_path: Path) -> None:
    """A taken name is refused before any work."""
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match="exists already"), atomic_folder(tmp_path / "run"):
        pass


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    """While another process writes the run, this one gets an error that says so."""
    code = (
        "import sys, pathlib\nfrom imgreg.runs.atomic_folder import atomic_folder\n"
        "with atomic_folder(pathlib.Path(sys.argv[1])):\n    print('mine', flush=True)\n    sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / "run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(BusyError, match="another imgreg"), atomic_folder(tmp_path / "run"):
        pass
    other.kill()
    other.wait()
    with atomic_folder(tmp_path / "run") as folder:  # a killed owner's lock and leftovers do not stay
        assert list(folder.iterdir()) == []


def test_what_killed_processes_left_goes_and_what_others_make_stays(tmp_path: Path) -> None:
    """A half-made folder whose lock nobody holds is removed by the next run, whatever its name; a held one is not."""
    (tmp_path / ".killed.partial").mkdir(parents=True)
    (tmp_path / ".killed.partial" / "head").write_text("half")
    with atomic_folder(tmp_path / "one") as one:
        assert not (tmp_path / ".killed.partial").exists()
        with atomic_folder(tmp_path / "two"):
            assert one.is_dir()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A read-only models folder is an error of the environment."""
    tmp_path.chmod(0o500)
    with pytest.raises(MachineError, match="--models"), atomic_folder(tmp_path / "deep" / "run"):
        pass


def test_a_run_is_read_back(trained) -> None:
    """What the folder says is what the command printed."""
    run = read_run(trained.folder)
    assert run.summary.model_dump(mode="json") == trained.document
    assert len(run.history.epochs) == run.summary.epochs_run
    assert sum(row.split == "val" for row in run.split) == run.summary.n_val == run.history.val_probabilities.shape[1]


@pytest.mark.parametrize(
    "name", ["metrics.json", "history.csv", "val_probabilities.npy", "split.csv", "environment.json"]
)
def test_a_damaged_run_names_the_file(trained, tmp_path: Path, name: str) -> None:
    """A missing or broken file is refused with the folder's name."""
    copy = tmp_path / "copy"
    shutil.copytree(trained.folder, copy)
    (copy / name).write_bytes(b"\x00broken")
    with pytest.raises(ArtefactError, match="copy"):
        read_run(copy)


def test_probabilities_of_another_run_are_refused(trained, tmp_path: Path) -> None:
    """An array of another shape is refused, and nothing is unpickled."""
    copy = tmp_path / "copy"
    shutil.copytree(trained.folder, copy)
    np.save(copy / "val_probabilities.npy", np.zeros((1, 2, 3), np.float32))
    with pytest.raises(ArtefactError, match="has changed"):
        read_run(copy)
    (copy / "SHA256SUMS").unlink()  # a stranger's list would fit
    with pytest.raises(ArtefactError, match=r"found shape \(1, 2, 3\)"):
        read_run(copy)


def test_an_array_that_claims_more_than_its_file_holds_is_refused(trained, tmp_path: Path) -> None:
    """A header of a petabyte asks for no memory; values of another kind are no probabilities."""
    copy = tmp_path / "copy"
    shutil.copytree(trained.folder, copy)
    (copy / "SHA256SUMS").unlink()
    with (copy / "val_probabilities.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2**48, 2)})
        file.write(b"\0" * 64)
    with pytest.raises(ArtefactError, match="not a readable run"):
        read_run(copy)
    np.save(copy / "val_probabilities.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ArtefactError, match="not a readable run"):
        read_run(copy)
    np.save(copy / "val_probabilities.npy", np.zeros((1, 2, 3), np.float64))
    with pytest.raises(ArtefactError, match="found float64, expected float32"):
        read_run(copy)


def test_runs_are_listed(trained, tmp_path: Path) -> None:
    """Readable runs are listed, damaged ones are named, anything else is let be."""
    shutil.copytree(trained.folder, tmp_path / "good")
    shutil.copytree(trained.folder, tmp_path / "bad")
    (tmp_path / "bad" / "metrics.json").write_text("{}")
    (tmp_path / "other").mkdir()
    summaries, damaged = list_runs(tmp_path)
    assert [summary.run for summary in summaries] == [str(tmp_path / "good")]
    assert damaged == (tmp_path / "bad",)
