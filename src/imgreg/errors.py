"""The errors that a user can fix, each with the exit code of the command line.

The library raises these; only imgreg.cli prints them and picks the exit code. Exit code 1 is any other
exception: our bug. A message says what was found, where, what was expected and what to do.
"""

from imgreg.paths import store_address


class ImgregError(Exception):
    """The root of everything imgreg raises on purpose. Files from an object store are named as the user knows them."""

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(store_address(message))


class UsageError(ImgregError):
    """The command or the settings are not valid: a wrong key, value or combination."""

    exit_code = 2


class DatasetError(ImgregError):
    """The photos, as a set, cannot be used: one class, an empty class, too many unreadable files."""

    exit_code = 3


class PhotoError(ImgregError):
    """One file is not a photo that imgreg reads. Code that works through many files collects these.

    code   one word for the reason, which never changes: empty, missing, unreadable, not-a-file, unsupported, too-large,
           out-of-memory, too-slow, truncated, no-label or damaged (data/issues.py says what to do about each)
    """

    exit_code = 3

    def __init__(self, message: str, *, code: str = "damaged") -> None:
        super().__init__(message)
        self.code = code


class ArtefactError(ImgregError):
    """A run, weights or pipeline file was refused: damaged, not written by imgreg, or of another version."""

    exit_code = 4


class FeatureError(ArtefactError):
    """The frozen base computed features that no head can be trained on: NaN or infinite."""


class MachineError(ImgregError):
    """The machine lacks something: space on the disk, the network, a package, the weights."""

    exit_code = 5


class BusyError(ImgregError):
    """Another imgreg process is writing what this one would write."""

    exit_code = 6


class DivergedError(ImgregError):
    """A loss or a weight became NaN or infinite while training.

    kept   the head of the best epoch before that (heads.training_curves.FittedHead); None in the first epoch
    """

    exit_code = 7

    def __init__(self, message: str, *, kept: object = None) -> None:
        super().__init__(message)
        self.kept = kept
