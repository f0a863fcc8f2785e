"""Where a stream's rows come from, and how they are featurized. No Ray in here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from upath import UPath

from omnimat.features.augment import RandomViews
from omnimat.features.batch import Quarantined, table_of_views
from omnimat.features.layout import ID_COLUMN, QUARANTINE_COLUMN, Extractor, Featurizer
from omnimat.materials.record import Modality, Record
from omnimat.shards.codec import EXTENSIONS, decode
from omnimat.stream.store import read_from_store
from omnimat.stream.unit import EPOCH_COLUMN, ReadUnit, read_from_shards


@dataclass(frozen=True)
class Source:
    """The records of a data set as features; picklable.

    Attributes:
        dataset: folder of shards and manifest.
        store: feature store to read instead of the shards, or None.
        featurizers: one a modality.
        views: what is shown of each record; a store shows records only as they are.
    """

    dataset: UPath
    store: UPath | None
    featurizers: Mapping[Modality, Featurizer]
    views: RandomViews = field(default_factory=RandomViews)

    def read(self, unit: ReadUnit) -> pa.Table:
        """Read a unit in its order: features from the store, undecoded members from shards."""
        if self.store is not None:
            return read_from_store(self.store, unit)
        return read_from_shards(self.dataset, unit)

    def featurize(self, raw: pa.Table) -> pa.Table:
        """Featurize rows read from shards, each as often as it has views.

        A bad one keeps its places, empty, with the reason.
        """
        return table_of_views(self._views(raw), self.featurizers)

    def features(self, unit: ReadUnit) -> pa.Table:
        """Read a unit and featurize it where the store has not done so."""
        rows = self.read(unit)
        return self.featurize(rows) if self.store is None else rows

    def _views(
        self, raw: pa.Table
    ) -> Iterator[tuple[Record | Quarantined, Mapping[Modality, Extractor]]]:
        # One row's members at a time: a list of all would hold every byte twice.
        for batch in raw.to_batches(max_chunksize=1):
            (row,) = batch.to_pylist()
            record = _decode(row)
            for view in range(self.views.num_views):
                yield record, self.views.extractors(self.featurizers, row[EPOCH_COLUMN], view)


def _decode(row: Mapping[str, Any]) -> Record | Quarantined:
    material_id = row[ID_COLUMN]
    if row[QUARANTINE_COLUMN] is not None:
        return Quarantined(material_id, row[QUARANTINE_COLUMN])
    members = {name: row[name] for name in EXTENSIONS if row[name] is not None}
    try:
        return decode(material_id, members)
    except ValueError as error:
        return Quarantined(material_id, str(error))
