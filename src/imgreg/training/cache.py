"""The feature cache of a command."""

from __future__ import annotations

from imgreg.features.block_store import BlockStore
from imgreg.features.cache import FeatureCache
from imgreg.paths import cache_folder, cache_store
from imgreg.session import Session


def open_cache(session: Session) -> FeatureCache:
    """Open the feature cache, a context manager, at the size that the session allows. Raises MachineError."""
    folder, say, address = cache_folder(), session.watcher.say, cache_store()
    store = None if address is None else BlockStore(address, folder=folder / "features", say=say)
    return FeatureCache(folder, say=say, limit_bytes=session.cache_bytes, store=store)
