"""Where a stream's rows come from, and how they are featurized. No Ray in here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from upath import UPath

from omnimat.features.batch import Quarantined, feature_table
from omnimat.features.layout import ID_COLUMN, QUARANTINE_COLUMN, Featurizer
from omnimat.materials.record import Modality, Record
from omnimat.shards.codec import EXTENSIONS, decode
from omnimat.stream.store import read_from_store
from omnimat.stream.unit import ReadUnit, read_from_shards


@dataclass(frozen=True)
class Source:
    """The records of a data set as features; picklable.

    Attributes:
        dataset: folder of shards and manifest.
        store: feature store to read instead of the shards, or None.
        featurizers: one a modality.
    """

    dataset: UPath
    store: UPath | None
    featurizers: Mapping[Modality, Featurizer]

    def read(self, unit: ReadUnit) -> pa.Table:
        """Read a unit in its order: features from the store, undecoded members from shards."""
        if self.store is not None:
            return read_from_store(self.store, unit)
        return read_from_shards(self.dataset, unit)

    def featurize(self, raw: pa.Table) -> pa.Table:
        """Featurize rows read from shards; a bad one keeps its place, empty, with the reason."""
        return feature_table(_decoded(raw), self.featurizers)

    def features(self, unit: ReadUnit) -> pa.Table:
        """Read a unit and featurize it where the store has not done so."""
        rows = self.read(unit)
        return self.featurize(rows) if self.store is None else rows


def _decoded(raw: pa.Table) -> Iterator[Record | Quarantined]:
    # One row's members at a time: a list of all would hold every byte twice.
    for batch in raw.to_batches(max_chunksize=1):
        (row,) = batch.to_pylist()
        yield _decode(row)


def _decode(row: Mapping[str, Any]) -> Record | Quarantined:
    material_id = row[ID_COLUMN]
    if row[QUARANTINE_COLUMN] is not None:
        return Quarantined(material_id, row[QUARANTINE_COLUMN])
    members = {name: row[name] for name in EXTENSIONS if row[name] is not None}
    try:
        return decode(material_id, members)
    except ValueError as error:
        return Quarantined(material_id, str(error))
