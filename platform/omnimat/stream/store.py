"""The feature store: features of a data set, written once, memory-mapped ever after.

One Arrow IPC file a shard, rows in shard order, and ``store.json`` last, which holds the checksums
of all of them. Its name carries the fingerprint of the records and the featurizers, so a stale
store is never found by mistake. Reading needs no Ray.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from upath import UPath

from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.settings import fingerprint, first_mistake, identity
from omnimat.modalities.layout import (
    ID_COLUMN,
    PROPERTIES_COLUMN,
    Featurizer,
    feature_schema,
)
from omnimat.shards.manifest import Manifest
from omnimat.stream.feature_file import FeatureFile, FileEntry
from omnimat.stream.unit import ReadUnit

COMPLETE = "store.json"

_REMEDY = "delete its folder and run the featurize job again"
# Each takes a file descriptor, of which a process often has 1,024.
_MAX_OPEN_FILES = 64


class StoreCard(BaseModel, frozen=True, extra="forbid"):
    """``store.json``, which is written last.

    Attributes:
        dataset_fingerprint: of the data set.
        fingerprint: what ``store_fingerprint`` gives.
        num_records: how many rows all files have.
        quarantined: maps the ids of faulty records to what is wrong with them.
        files: the file of each shard; empty in a store of an older omnimat, whose files cannot be
            checked.
    """

    dataset_fingerprint: str
    fingerprint: str
    num_records: int
    quarantined: Mapping[str, str]
    files: tuple[FileEntry, ...] = ()

    @classmethod
    def read(cls, store: UPath) -> StoreCard | None:
        """Read the card of a store, or return None if the store is not complete.

        Raises:
            UserError: the card is damaged.
        """
        path = store / COMPLETE
        try:
            return cls.model_validate(read_checked_json(path, _REMEDY))
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise UserError(f"{path} is damaged ({first_mistake(error)}): {_REMEDY}") from error

    @property
    def has_checksums(self) -> bool:
        """Whether the files can be checked."""
        return bool(self.files) or not self.num_records

    def save(self, store: UPath) -> None:
        """Write the card, which makes the store complete."""
        write_checked_json(store / COMPLETE, self.model_dump(mode="json"))


def store_fingerprint(manifest: Manifest, featurizers: Mapping[str, Featurizer]) -> str:
    """Identify features by what they are made from and how."""
    made = {"dataset": manifest.dataset_fingerprint, "featurizers": identity(featurizers)}
    return fingerprint(made)


def features_name(shard: int) -> str:
    """File of a shard's features."""
    return f"features-{shard:05d}.arrow"


class StoredFeatures:
    """The files of a complete store, for one process, which checks each block once."""

    def __init__(self, folder: UPath, expected: str | None = None) -> None:
        """Read the card of a store.

        Args:
            folder: folder of the store.
            expected: what ``store_fingerprint`` gives for it; None if its name says so.

        Raises:
            UserError: the store is incomplete, or of another data set or other featurizers, or its
                card is damaged or holds no checksums.
        """
        card = StoreCard.read(folder)
        if card is not None and expected not in {None, card.fingerprint}:
            raise UserError(f"{folder} is stale: delete it and run its featurize job again")
        if card is None or not card.has_checksums:
            raise UserError(f"{folder} is no complete feature store: run its featurize job first")
        self.card = card
        self._folder = folder
        self._is_checked = [np.zeros(len(entry.crc32), dtype=np.bool_) for entry in card.files]
        self._recent = lru_cache(_MAX_OPEN_FILES)(self.open)

    def open(self, shard: int) -> FeatureFile:
        """Map the file of a shard."""
        entry, is_checked = self.card.files[shard], self._is_checked[shard]
        return FeatureFile.open(self._folder / features_name(shard), entry, is_checked)

    def read(self, unit: ReadUnit) -> pa.Table:
        """Read a unit's feature rows, in the unit's order.

        Raises:
            RunError: a file is missing or damaged.
        """
        shards, shard_of_record = np.unique(unit["shard"], return_inverse=True)
        files = [self._recent(int(shard)) for shard in shards]
        for file in files:
            file.check()
        firsts = np.cumsum([0, *(len(file.table) for file in files)])
        positions = firsts[shard_of_record] + unit["row"].to_numpy()
        return take_rows(pa.concat_tables([file.table for file in files]), positions)


@dataclass(frozen=True)
class FeatureStore:
    """Random access to features.

    Attributes:
        records: the data set's record index, one row a record.
        features: the feature table, rows as in ``records``, memory-mapped. Read its columns by
            ``columns`` or ``table``, which check them first.
        files: the files that the table was mapped from, if any.
    """

    records: pd.DataFrame
    features: pa.Table
    files: Sequence[FeatureFile] = ()

    @classmethod
    def open(
        cls, dataset: UPath, store: UPath, featurizers: Mapping[str, Featurizer]
    ) -> FeatureStore:
        """Open a complete store and check that it is of these records and featurizers.

        Raises:
            UserError: if the store is incomplete, or of another data set or setting.
            RunError: if a file is missing or damaged.
        """
        manifest = Manifest.load(dataset)
        stored = StoredFeatures(store, store_fingerprint(manifest, featurizers))
        files = [stored.open(i) for i in range(len(manifest.shards))]
        schema = feature_schema(featurizers)
        tables = [file.table for file in files]
        features = pa.concat_tables(tables) if tables else schema.empty_table()
        return cls(manifest.records(dataset), features, files)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Give these columns of all records.

        Raises:
            RunError: a block of them was changed after it was written.
        """
        for file in self.files:
            file.check(names)
        return self.features.select(names)

    def of_modalities(self, featurizers: Mapping[str, Featurizer]) -> FeatureStore:
        """Give the same store with only the columns of these modalities, checked."""
        fields = [f"{name}.{field.name}" for name, f in featurizers.items() for field in f.fields]
        return FeatureStore(self.records, self.columns([ID_COLUMN, PROPERTIES_COLUMN, *fields]))

    def table(self, positions: NDArray[np.int64]) -> pa.Table:
        """Give the feature rows at these positions of ``records``, in this order."""
        return take_rows(self.columns(self.features.column_names), positions)


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
