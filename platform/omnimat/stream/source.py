"""Where a stream's rows come from, and how they are featurized. No Ray in here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import pyarrow as pa
from upath import UPath

from omnimat.materials.record import Record
from omnimat.modalities.batch import Quarantined, table_of_views
from omnimat.modalities.layout import Extractor, Featurizer, feature_schema
from omnimat.modalities.views import RandomViews
from omnimat.shards.codec import decode
from omnimat.shards.reader import RawRecord, read_records
from omnimat.stream.store import StoredFeatures
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
    featurizers: Mapping[str, Featurizer]
    views: RandomViews = field(default_factory=RandomViews)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the open store when pickling; every process opens its own."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @cached_property
    def _stored(self) -> StoredFeatures:
        assert self.store is not None
        return StoredFeatures(self.store)

    @property
    def schema(self) -> pa.Schema:
        """Of the feature rows."""
        return feature_schema(self.featurizers)

    def features(self, unit: ReadUnit) -> pa.Table:
        """Give a unit's feature rows in its order, each record as often as it has views.

        A record that cannot be read keeps its places, empty, with the reason.
        """
        return self.timed_features(unit)[0]

    def timed_features(self, unit: ReadUnit) -> tuple[pa.Table, dict[str, float]]:
        """Give the same, and the seconds of wall time that each stage took.

        Decoding, which goes record by record with featurizing, counts as such.
        """
        started_s = time.perf_counter()
        if self.store is not None:
            features = self._stored.read(unit)
            return features, {"read": time.perf_counter() - started_s}
        records = read_records(self.dataset, unit)
        read_s = time.perf_counter() - started_s
        epoch = next(iter(unit["epoch"]), 0)
        features = table_of_views(self._views(records, epoch), self.featurizers)
        return features, {"read": read_s, "featurize": time.perf_counter() - started_s - read_s}

    def _views(
        self, records: Iterable[RawRecord], epoch: int
    ) -> Iterator[tuple[Record | Quarantined, Mapping[str, Extractor]]]:
        every = [
            self.views.extractors(self.featurizers, epoch, view)
            for view in range(self.views.num_views)
        ]
        for raw in records:
            record = decoded(raw)
            for extractors in every:
                yield record, extractors


def decoded(raw: RawRecord) -> Record | Quarantined:
    """Decode a record, or say why that cannot be done."""
    if raw.quarantine_reason is not None:
        return Quarantined(raw.material_id, raw.quarantine_reason)
    try:
        return decode(raw.material_id, raw.members)
    except ValueError as error:
        return Quarantined(raw.material_id, str(error))
