"""Where a stream's rows come from, and how they are featurized. No Ray in here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
from upath import UPath

from omnimat.features.augment import RandomViews
from omnimat.features.batch import Quarantined, table_of_views
from omnimat.features.layout import Extractor, Featurizer, feature_schema
from omnimat.materials.record import Modality, Record
from omnimat.shards.codec import decode
from omnimat.shards.reader import RawRecord, read_records
from omnimat.stream.store import read_from_store
from omnimat.stream.unit import ReadUnit


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

    @property
    def schema(self) -> pa.Schema:
        """Of the feature rows."""
        return feature_schema(self.featurizers)

    def features(self, unit: ReadUnit) -> pa.Table:
        """Give a unit's feature rows in its order, each record as often as it has views.

        A record that cannot be read keeps its places, empty, with the reason.
        """
        if self.store is not None:
            return read_from_store(self.store, unit)
        return table_of_views(self._views(unit), self.featurizers)

    def _views(
        self, unit: ReadUnit
    ) -> Iterator[tuple[Record | Quarantined, Mapping[Modality, Extractor]]]:
        every = [
            self.views.extractors(self.featurizers, unit.epoch, view)
            for view in range(self.views.num_views)
        ]
        for raw in read_records(self.dataset, unit.records):
            record = _decode(raw)
            for extractors in every:
                yield record, extractors


def _decode(raw: RawRecord) -> Record | Quarantined:
    if raw.quarantine_reason is not None:
        return Quarantined(raw.material_id, raw.quarantine_reason)
    try:
        return decode(raw.material_id, raw.members)
    except ValueError as error:
        return Quarantined(raw.material_id, str(error))
