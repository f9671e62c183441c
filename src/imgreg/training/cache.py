"""The feature cache of a command."""

from __future__ import annotations

from imgreg.features.block_store import BlockStore
from imgreg.features.cache import FeatureCache
from imgreg.paths import cache_folder, cache_store
from imgreg.session import Session


def store_of_workers(session: Session) -> str | None:
    """The store through which workers on other machines share features; None where they share a folder, or are none."""
    return None if session.ray is None else cache_store()


def open_cache(session: Session, *, fetch: bool = True, keep_seconds: float = 0.0) -> FeatureCache:
    """Open the feature cache, a context manager, at the size that the session allows.

    Parameters
    ----------
    fetch, keep_seconds
        As FeatureCache has them.

    Raises
    ------
    MachineError
        If the folder cannot be written, or the store cannot be used.
    """
    folder, say, address = cache_folder(), session.watcher.say, cache_store()
    store = None if address is None else BlockStore(address, folder=folder / "features", say=say)
    return FeatureCache(
        folder, say=say, limit_bytes=session.cache_bytes, store=store, fetch=fetch, keep_seconds=keep_seconds
    )
