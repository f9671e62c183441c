"""Where imgreg keeps what it can compute again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """The user's cache folder: $IMGREG_CACHE, else the platform's own."""
    given = os.environ.get("IMGREG_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("imgreg")
