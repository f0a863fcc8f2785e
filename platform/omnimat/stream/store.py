"""The feature store: features of a data set, written once, memory-mapped ever after.

One Arrow IPC file a shard, rows in shard order, and ``store.json`` last. Its name carries the
fingerprint of the records and the featurizers, so a stale store is never found by mistake.
Reading needs no Ray.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from upath import UPath

from omnimat.features.layout import Featurizer, feature_schema
from omnimat.materials.errors import UserError
from omnimat.materials.record import Modality
from omnimat.materials.settings import fingerprint
from omnimat.shards.manifest import Manifest
from omnimat.stream.unit import ReadUnit

COMPLETE = "store.json"


def store_fingerprint(manifest: Manifest, featurizers: Mapping[Modality, Featurizer]) -> str:
    """Identify features by what they are made from and how."""
    settings = {name: f.model_dump(mode="json") for name, f in sorted(featurizers.items())}
    return fingerprint({"dataset": manifest.dataset_fingerprint, "featurizers": settings})


def features_name(shard: int) -> str:
    """File of a shard's features."""
    return f"features-{shard:05d}.arrow"


def open_features(path: UPath) -> pa.Table:
    """Open one shard's features, memory-mapped where the store is local."""
    if path.protocol in {"", "file"}:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    return pa.ipc.open_file(path.read_bytes()).read_all()


@dataclass(frozen=True)
class FeatureStore:
    """Random access to features.

    Attributes:
        records: the data set's record index, one row a record.
        features: the feature table, rows as in ``records``, memory-mapped where local.
    """

    records: pd.DataFrame
    features: pa.Table

    @classmethod
    def open(
        cls, dataset: UPath, store: UPath, featurizers: Mapping[Modality, Featurizer]
    ) -> FeatureStore:
        """Open a complete store and check that it is of these records and featurizers.

        Raises:
            UserError: if the store is incomplete, or of another data set or setting.
        """
        manifest = Manifest.load(dataset)
        if not (store / COMPLETE).exists():
            raise UserError(f"{store} is no complete feature store: run its featurize job first")
        card = json.loads((store / COMPLETE).read_text())
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
    shards, shard_of_record = np.unique(unit.records["shard"], return_inverse=True)
    tables = [open_features(store / features_name(int(shard))) for shard in shards]
    firsts = np.cumsum([0, *map(len, tables)])
    positions = firsts[shard_of_record] + unit.records["row"].to_numpy()
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
