"""Read units: which records a task delivers, and how they are read from tar shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from upath import UPath

from omnimat.features.layout import ID_COLUMN, QUARANTINE_COLUMN
from omnimat.shards.codec import EXTENSIONS
from omnimat.shards.manifest import shard_name
from omnimat.shards.reader import RawRecord, read_members

EPOCH_COLUMN = "epoch"

RAW_SCHEMA = pa.schema(
    [
        pa.field(ID_COLUMN, pa.string()),
        pa.field(QUARANTINE_COLUMN, pa.string()),
        pa.field(EPOCH_COLUMN, pa.int32()),
        *(pa.field(extension, pa.large_binary()) for extension in EXTENSIONS),
    ]
)


@dataclass(frozen=True, slots=True)
class ReadUnit:
    """What one read task delivers.

    Attributes:
        records: rows of the record index, in delivery order.
        epoch: for which; random views differ from one to the next.
    """

    records: pd.DataFrame
    epoch: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the records in their shards."""
        return int(self.records["size_bytes"].sum())


def take(records: pd.DataFrame, positions: NDArray[np.int64], epoch: int = 0) -> ReadUnit:
    """Make the unit of these records, in this order."""
    columns = ["material_id", "shard", "row", "offset_bytes", "size_bytes"]
    return ReadUnit(records[columns].iloc[positions].reset_index(drop=True), epoch)


def read_from_shards(dataset: UPath, unit: ReadUnit) -> pa.Table:
    """Read a unit's records undecoded, each shard once in file order.

    Returns:
        A table of ``RAW_SCHEMA``, rows in the unit's order; a record that cannot be read is a row
        with its reason.
    """
    found: dict[int, RawRecord] = {}
    for _, rows in unit.records.sort_values("offset_bytes").groupby("shard"):
        raw = read_members(
            dataset / shard_name(int(rows["shard"].iloc[0])),
            rows["offset_bytes"].to_numpy(),
            rows["size_bytes"].to_numpy(),
            rows["material_id"].tolist(),
        )
        found.update(zip(rows.index, raw, strict=True))
    return raw_table([found[position] for position in range(len(unit.records))], unit.epoch)


def raw_table(records: Sequence[RawRecord], epoch: int) -> pa.Table:
    """Hold the undecoded members of records of an epoch as one Arrow table."""
    columns: dict[str, list[Any]] = {
        ID_COLUMN: [r.material_id for r in records],
        QUARANTINE_COLUMN: [r.quarantine_reason for r in records],
        EPOCH_COLUMN: [epoch] * len(records),
    }
    for extension in EXTENSIONS:
        columns[extension] = [r.members.get(extension) for r in records]
    return pa.table(columns, schema=RAW_SCHEMA)
