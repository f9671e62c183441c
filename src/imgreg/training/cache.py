"""The feature cache of a command."""

from __future__ import annotations

from imgreg.features.cache import FeatureCache
from imgreg.paths import cache_folder
from imgreg.session import Session


def open_cache(session: Session) -> FeatureCache:
    """Open the feature cache, a context manager, at the size that the session allows. Raises MachineError."""
    return FeatureCache(cache_folder(), say=session.watcher.say, limit_bytes=session.cache_bytes)
