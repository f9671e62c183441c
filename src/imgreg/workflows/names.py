"""What a run is called."""

from __future__ import annotations

import datetime
import os

from imgreg.errors import UsageError


def timestamp() -> str:
    return datetime.datetime.now().strftime("%Y%m%d-%H%M%S")  # local time: the name is for the user


def checked_name(name: str) -> str:
    """A run's name as one visible path part.

    >>> checked_name("first try")
    'first try'
    """
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(os.fsencode(name)) > 200:
        raise UsageError(
            f"{name!r} cannot name a run: expected at most 200 bytes, without / and not starting with a dot."
        )
    return name
