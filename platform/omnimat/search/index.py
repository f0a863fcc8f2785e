"""Embeddings of a whole data set by one encoder, which are made once and then memory-mapped.

They are in the file ``search/<data set>/<modality>-<key>-<crc32>.npy`` of the run's folder. The key
is the fingerprint of the data set and of the encoder's bytes. So a file of another state of either
is never found, and it is removed when its successor is written. The checksum is that of the file
itself; one that does not have it is made again.
"""

from __future__ import annotations

import mmap
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import read_file, write_atomically
from omnimat.base.filesystem import is_local
from omnimat.base.provenance import sha256_of
from omnimat.base.settings import fingerprint
from omnimat.base.workspace import Workspace
from omnimat.modalities.storage import decode_npy, encode_npy
from omnimat.models.embed import ExportedEncoder
from omnimat.models.export import Card
from omnimat.models.inputs import export_folder, featurizers_of
from omnimat.stream.location import StoreLocation
from omnimat.stream.source import Source
from omnimat.stream.store import FeatureStore
from omnimat.stream.unit import take

Float = NDArray[np.float32]

_SEARCH = "search"
# Largest data set that this process featurizes if there is no feature store; it takes a minute.
_MAX_FEATURIZED_HERE = 2_000


@dataclass(frozen=True, slots=True)
class Index:
    """The N materials of a data set.

    Attributes:
        dataset: folder of the data set.
        records: its record index (``shards.manifest.records_schema``).
        embeddings: embeddings of unit length, zero where a material lacks the modality, float32 of
            shape (N, d).
    """

    dataset: UPath
    records: pd.DataFrame
    embeddings: Float

    def candidates(self, split: str | None) -> NDArray[np.int64]:
        """Return the rows of the materials in one split, or in all, that have the modality."""
        present = self.embeddings.any(axis=1)
        if split is not None:
            present &= (self.records["split"] == split).to_numpy()
        return np.flatnonzero(present)


def open_index(
    workspace: Workspace,
    run: UPath,
    dataset: str,
    modality: str,
    cards: Mapping[str, Card],
) -> Index:
    """Open the index of a data set for one encoder of a run, or make it if it is missing.

    Args:
        workspace: workspace that holds the data set.
        run: folder of the pretraining run.
        dataset: name of the data set.
        modality: modality to compare, of which the run has an encoder.
        cards: cards of the run's encoders.

    Raises:
        UserError: the data set is missing, or it is large and its features are missing.
        RunError: an embedding is not finite.
    """
    location = StoreLocation.of(workspace, dataset, featurizers_of(cards))
    manifest = location.manifest
    export = export_folder(run, modality)
    key = fingerprint([manifest.dataset_fingerprint, sha256_of(export)])
    folder = run / _SEARCH / dataset
    values = _found(folder, f"{modality}-{key}")
    if values is None:
        print(f"indexing {modality} of {manifest.num_records} materials", file=sys.stderr)
        values = _embeddings(location, export, modality)
        path = _write(folder, f"{modality}-{key}", values)
        for stale in folder.glob(f"{modality}-*.npy"):
            if stale.name != path.name:
                stale.unlink()
    return Index(location.dataset, manifest.records(location.dataset), values)


def nearest(
    queries: Float, keys: Float, rows: NDArray[np.int64], top: int, block_rows: int = 16_384
) -> tuple[NDArray[np.int64], Float]:
    """Find the keys nearest to each query, exactly.

    Args:
        queries: vectors of unit length, shape (Q, d).
        keys: vectors of unit length, which may be mapped from a file, shape (N, d).
        rows: rows of the keys to compare with, increasing, shape (n,).
        top: how many keys to find.
        block_rows: how many keys are held in memory at a time.

    Returns:
        The rows of the keys, nearest first, and their cosines, both of shape (Q, k), where k is
        the smaller of ``top`` and n. Cosines are rounded to six decimals, the accuracy of single
        precision. Among equal cosines, the first row comes first.
    """
    best = np.empty((len(queries), 0), dtype=np.float32)
    places = np.empty((len(queries), 0), dtype=np.int64)
    for start in range(0, len(rows), block_rows):
        block = rows[start : start + block_rows]
        cosines = np.concatenate([best, np.round(queries @ keys[block].T, 6)], axis=1)
        wide = np.broadcast_to(block, (len(queries), len(block)))
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :top]
        places = np.take_along_axis(np.concatenate([places, wide], axis=1), order, axis=1)
        best = np.take_along_axis(cosines, order, axis=1)
    return places, best


def _embeddings(location: StoreLocation, export: UPath, modality: str) -> Float:
    store = location.open() if location.is_complete else _featurized_here(location, modality)
    positions = np.arange(len(store.records))
    column = ExportedEncoder.load(export).embed_stored(store, positions)
    values: Float = column.values.numpy()
    return values


def _featurized_here(location: StoreLocation, modality: str) -> FeatureStore:
    """Featurize one modality of a small data set.

    Raises:
        UserError: the data set is not small.
    """
    manifest = location.manifest
    if manifest.num_records > _MAX_FEATURIZED_HERE:
        raise UserError(
            f"dataset: {location.folder} is not a complete feature store, and "
            f"{location.dataset.name!r} has {manifest.num_records} materials, more than the "
            f"{_MAX_FEATURIZED_HERE} that are featurized on the spot: run an evaluate job of this "
            "run on it first"
        )
    records = manifest.records(location.dataset)
    source = Source(location.dataset, None, {modality: location.featurizers[modality]})
    return FeatureStore(records, source.features(take(records, np.arange(len(records)))))


def _write(folder: UPath, name: str, values: Float) -> UPath:
    data = encode_npy(values)
    path = folder / f"{name}-{zlib.crc32(data):08x}.npy"
    write_atomically(path, data)
    return path


def _found(folder: UPath, name: str) -> Float | None:
    """Read the file of an index, or return None if there is none that is as it was written."""
    for path in folder.glob(f"{name}-*.npy"):
        content = _content(path)
        if path.stem.rpartition("-")[2] == f"{zlib.crc32(content):08x}":
            values: Float = decode_npy(content)
            return values
        print(f"{path} was changed after it was written: it is made again", file=sys.stderr)
    return None


def _content(path: UPath) -> memoryview:
    """Map a file into memory if it is on this machine, and read it otherwise."""
    if not is_local(path):
        return memoryview(read_file(path))
    if not path.stat().st_size:
        return memoryview(b"")  # which cannot be mapped
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
