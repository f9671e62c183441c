"""One block of features, computed in a process on any machine and written into the shared cache folder or object store.

In: the views of a block. Out: the name and length of the written block; the features stay in the folder or the store.
Must not know: what sends the views, and the cache's index, which only the command itself opens.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np

from imgreg.data.members import file_of
from imgreg.data.reading import FileReader, naming_machine, shared_place
from imgreg.data.stores import is_address
from imgreg.errors import DatasetError, MachineError
from imgreg.features.block_files import WrittenBlock, block_content, block_name, write_block
from imgreg.features.block_store import BlockStore
from imgreg.features.engines import Engine, EngineSettings, engine_version, load_engine
from imgreg.features.export import export_files, fetch_export, find_export
from imgreg.features.extract import BaseIdentity, FeatureSource, View, feature_rows, library_versions
from imgreg.features.weights import Weights
from imgreg.paths import cache_folder


@dataclass(frozen=True)
class BaseInStore:
    """An object store that machines use in place of a shared folder, with the exported base in it.

    Attributes
    ----------
    files : mapping of str to str
        The names in the store of the base's files.
    """

    address: str
    files: Mapping[str, str]


def made_with(base: BaseIdentity, *, packages: Sequence[str] = ()) -> dict[str, str]:
    """What results of this process depend on beside the base's weights: versions and the kind of processor.

    Parameters
    ----------
    packages : sequence of str, optional
        Besides those that features depend on.

    Raises
    ------
    MachineError
        If this processor cannot compute in the base's precision.
    """
    own = {name: version(name) for name in ("imgreg", *packages)}
    return own | {"engine": engine_version("openvino", base.precision)} | library_versions()


class BlockWorker(FileReader):
    """Computes blocks with a base that it loads once, and reads files. It refuses if its features would have other
    bits."""

    def __init__(
        self, base: BaseIdentity, *, layer: str, cache: Path | BaseInStore, expected: Mapping[str, str]
    ) -> None:
        """
        Parameters
        ----------
        layer : str
            Whose output is wanted.
        cache : Path or BaseInStore
            What `cache_of_workers` gave: the shared cache folder, or the store beside this machine's own.
        expected : mapping of str to str
            `made_with` of the command.
        """
        self._base, self._layer, self._expected = base, layer, dict(expected)
        self._shared = cache
        self._cache = cache if isinstance(cache, Path) else cache_folder()

    @cached_property
    def _store(self) -> BlockStore:
        assert isinstance(self._shared, BaseInStore)
        return BlockStore(self._shared.address, folder=self._cache / "features", say=lambda _: None)

    @cached_property
    def _engine(self) -> Engine:
        """Loaded once it is known that the bits will be the same.

        Raises
        ------
        MachineError
            If they would not, the cache folder is not here, or the store does not give the base.
        """
        refuse_other_bits(self._base, expected=self._expected)
        base, int8 = self._base, self._base.precision == "int8"
        if isinstance(self._shared, BaseInStore):
            names, of = self._shared.files, base.preprocessing
            with naming_machine():
                fetch_export(
                    self._cache, base.weights_sha256, names=names, fetch=self._store.base, preprocessing=of, int8=int8
                )
        elif find_export(self._cache, base.weights_sha256, preprocessing=base.preprocessing, int8=int8) is None:
            raise MachineError(
                f"{self._cache}/base: no exported VGG16 on {socket.gethostname()}. Every machine needs the same folder "
                "as IMGREG_CACHE, on a shared file system."
            )
        settings = EngineSettings(
            "openvino",
            self._base.precision,
            self._base.image_size,
            preprocessing=self._base.preprocessing,
            n_threads=1,
            layer=self._layer,
        )
        return load_engine(
            settings, weights_sha256=self._base.weights_sha256, find_weights=_no_weights, cache=self._cache
        )

    def compute(self, views: Sequence[View]) -> WrittenBlock:
        """Compute one block and write it.

        Raises
        ------
        DatasetError
            If a photo is not here, or changed since it was indexed.
        MachineError
            If the disk or a store refuses.
        """
        rows = feature_rows(views, engine=self._engine, base=self._base)
        try:
            with naming_machine():
                features = np.stack(list(rows))
        except DatasetError as error:
            files = [file_of(view.photo.where) for view in views if not is_address(view.photo.where)]
            missing = next((file for file in files if not Path(file).exists()), None)
            if missing is None:
                raise
            raise DatasetError(
                f"{missing}: not found on {socket.gethostname()}. Every machine needs the photos in the same place, "
                "on a shared file system."
            ) from error
        if isinstance(self._shared, Path):
            return write_block(self._shared / "features", features)
        content = block_content(features)
        written = WrittenBlock(block_name(content), len(content))
        with naming_machine():
            self._store.put_block(written.name, content)
        return written


def cache_of_workers(source: FeatureSource) -> Path | BaseInStore:
    """What the workers of a command share: its cache folder, or its store, into which the exported base is put.

    Raises
    ------
    MachineError
        If the store refuses.
    """
    cache, base, store = source.cache.folder.parent.resolve(), source.base, source.cache.store
    if store is None:
        return cache
    model = find_export(cache, base.weights_sha256, preprocessing=base.preprocessing, int8=base.precision == "int8")
    assert model is not None  # the command exports it before workers compute
    return BaseInStore(store.address, {name: store.put_base(content) for name, content in export_files(model).items()})


def views_to_send(views: Sequence[View]) -> list[View]:
    """The same views with nothing that computing them does not need, and with paths that hold on every machine."""
    return [replace(view, photo=replace(view.photo, where=shared_place(view.photo.where), seen=None)) for view in views]


def refuse_other_bits(base: BaseIdentity, *, expected: Mapping[str, str], packages: Sequence[str] = ()) -> None:
    """Compare what this process computes with against what the command does.

    Parameters
    ----------
    expected : mapping of str to str
        `made_with` of the command.
    packages : sequence of str, optional
        Further packages, as given to it.

    Raises
    ------
    MachineError
        With what differs, and what to do.
    """
    try:
        found = made_with(base, packages=packages)
    except MachineError as error:
        found = {"engine": str(error)}
    other = [
        f"{name} {found.get(name)}, expected {value}" for name, value in expected.items() if found.get(name) != value
    ]
    if other:
        raise MachineError(
            f"{socket.gethostname()}: its results would differ from this command's ({'; '.join(other)}). "
            "Install the same versions on every machine. For different processors, use --precision float32 and set "
            "ONEDNN_MAX_CPU_ISA to an instruction set that all have, e.g. AVX2: it is passed to every worker."
        )


def _no_weights() -> Weights:
    raise MachineError("the exported VGG16 in the cache is damaged. Run `imgreg cache verify`, which removes it.")
