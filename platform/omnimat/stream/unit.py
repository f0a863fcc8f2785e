"""Read units: the records that are read, featurized and handed on at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from omnimat.shards.reader import LOCATION_COLUMNS

_EPOCH_COLUMN = "epoch"


@dataclass(frozen=True, slots=True)
class ReadUnit:
    """Records in the order in which they are delivered.

    Attributes:
        records: rows of the record index: where each lies.
        epoch: for which; random views differ from one to the next.
    """

    records: pd.DataFrame
    epoch: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the records in their shards."""
        return int(self.records["size_bytes"].sum())

    def to_table(self) -> pa.Table:
        """Give the unit as rows that can travel."""
        rows = self.records.assign(**{_EPOCH_COLUMN: self.epoch})
        return pa.Table.from_pandas(rows, preserve_index=False)

    @classmethod
    def from_table(cls, rows: pa.Table) -> Self:
        """Give the unit that ``to_table`` was called on."""
        records = rows.to_pandas()
        epochs = records.pop(_EPOCH_COLUMN)
        return cls(records, int(epochs.iloc[0]))


def take(records: pd.DataFrame, positions: NDArray[np.int64], epoch: int = 0) -> ReadUnit:
    """Make the unit of these records, in this order."""
    rows = records.take(positions).reset_index(drop=True)
    return ReadUnit(rows[["row", *LOCATION_COLUMNS]], epoch)
