"""The feature store: features of a data set, written once, memory-mapped ever after.

One Arrow IPC file a shard, rows in shard order, and ``store.json`` last. Its name carries the
fingerprint of the records and the featurizers, so a stale store is never found by mistake.
Reading needs no Ray.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import TEMPORARY_SUFFIX, read_file
from omnimat.base.retry import patiently, reason
from omnimat.base.settings import fingerprint, identity
from omnimat.modalities.layout import Featurizer, feature_schema
from omnimat.shards.manifest import Manifest
from omnimat.stream.unit import ReadUnit

COMPLETE = "store.json"

CACHE_VARIABLE = "OMNIMAT_CACHE"
"""Names the folder for copies of remote stores, else ``~/.cache/omnimat``; best on a local disk."""


def store_fingerprint(manifest: Manifest, featurizers: Mapping[str, Featurizer]) -> str:
    """Identify features by what they are made from and how."""
    made = {"dataset": manifest.dataset_fingerprint, "featurizers": identity(featurizers)}
    return fingerprint(made)


def features_name(shard: int) -> str:
    """File of a shard's features."""
    return f"features-{shard:05d}.arrow"


def open_features(path: UPath) -> pa.Table:
    """Open one shard's features, memory-mapped; of a remote store, a copy on this machine.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        local = str(path) if path.protocol in {"", "file"} else str(_local_copy(path))
        return pa.ipc.open_file(pa.memory_map(local)).read_all()
    except (FileNotFoundError, pa.ArrowInvalid) as error:
        raise UserError(
            f"{path} is missing or damaged ({reason(error)}): delete its folder and run the "
            "featurize job again"
        ) from error


def _local_copy(path: UPath) -> Path:
    """Fetch a remote file once for all processes of this machine and user.

    The copy's folder is named after the version of the file, so a file written anew is fetched
    anew.
    """
    version = patiently(lambda: path.fs.checksum(path.path), path)
    cache = Path(os.environ.get(CACHE_VARIABLE, "~/.cache/omnimat")).expanduser()
    copy = cache / "features" / fingerprint([str(path), str(version)]) / path.name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        partial = copy.with_name(f"{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
        patiently(lambda: path.fs.get_file(path.path, str(partial)), path)
        partial.rename(copy)
    return copy


@dataclass(frozen=True)
class FeatureStore:
    """Random access to features.

    Attributes:
        records: the data set's record index, one row a record.
        features: the feature table, rows as in ``records``, memory-mapped.
    """

    records: pd.DataFrame
    features: pa.Table

    @classmethod
    def open(
        cls, dataset: UPath, store: UPath, featurizers: Mapping[str, Featurizer]
    ) -> FeatureStore:
        """Open a complete store and check that it is of these records and featurizers.

        Raises:
            UserError: if the store is incomplete, or of another data set or setting.
        """
        manifest = Manifest.load(dataset)
        try:
            card = json.loads(read_file(store / COMPLETE))
        except FileNotFoundError:
            raise UserError(
                f"{store} is no complete feature store: run its featurize job first"
            ) from None
        if card["fingerprint"] != store_fingerprint(manifest, featurizers):
            raise UserError(f"{store} is stale: delete it and run its featurize job again")
        tables = [open_features(store / features_name(i)) for i in range(len(manifest.shards))]
        schema = feature_schema(featurizers)
        features = pa.concat_tables(tables) if tables else schema.empty_table()
        return cls(manifest.records(dataset), features)

    def table(self, positions: NDArray[np.int64]) -> pa.Table:
        """Give the feature rows at these positions of ``records``, in this order."""
        return take_rows(self.features, positions)


def read_from_store(store: UPath, unit: ReadUnit) -> pa.Table:
    """Read a unit's feature rows, in the unit's order."""
    shards, shard_of_record = np.unique(unit["shard"], return_inverse=True)
    tables = [open_features(store / features_name(int(shard))) for shard in shards]
    firsts = np.cumsum([0, *map(len, tables)])
    positions = firsts[shard_of_record] + unit["row"].to_numpy()
    return take_rows(pa.concat_tables(tables), positions)


def take_rows(features: pa.Table, positions: NDArray[np.int64]) -> pa.Table:
    """Take rows chunk by chunk: ``Table.take`` copies every chunk of ragged columns whole first."""
    chunks = features.to_batches()
    firsts = np.cumsum([0, *map(len, chunks)])
    chunk_of_row = np.searchsorted(firsts, positions, side="right") - 1
    parts = [
        chunks[i].take(pa.array(positions[chunk_of_row == i] - firsts[i]))
        for i in np.unique(chunk_of_row)
    ]
    place = np.argsort(np.argsort(chunk_of_row, kind="stable"))
    return pa.Table.from_batches(parts, features.schema).take(pa.array(place))
