"""Parquet files, of which only the row groups and columns that are needed are decoded."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.sources.tables.values import Kind

_ROWS_PER_BATCH = 64


class ParquetRows:
    """The rows of a Parquet file."""

    def __init__(self, path: UPath, max_rows: int | None) -> None:
        """Read the schema.

        Args:
            path: path of the file.
            max_rows: how many rows count, from the beginning; None for all.

        Raises:
            UserError: the file is no Parquet file.
        """
        self._path, self._max_rows = path, max_rows
        try:
            with path.open("rb") as file:
                table = pq.ParquetFile(file)
                schema, self._num_rows = table.schema_arrow, int(table.metadata.num_rows)
        except pa.ArrowException as error:
            raise UserError(f"source.path: {path} is no Parquet file: {error}") from error
        self.columns: tuple[str, ...] = tuple(schema.names)
        self.kinds: Mapping[str, Kind] = {}  # the schema has types
        self.metadata = {
            key.decode(errors="replace"): value.decode(errors="replace")
            for key, value in (schema.metadata or {}).items()
        }

    def count(self) -> int:
        """Count the rows."""
        return self._num_rows if self._max_rows is None else min(self._max_rows, self._num_rows)

    def read(self, start: int, stop: int, columns: Collection[str]) -> Iterator[Mapping[str, Any]]:
        """Read the rows from ``start`` to before ``stop``."""
        wanted = [name for name in self.columns if name in columns]
        for batch in read_slice(self._path, start, stop, wanted).to_batches(_ROWS_PER_BATCH):
            yield from batch.to_pylist()


def read_slice(path: UPath, start: int, stop: int, columns: list[str] | None = None) -> pa.Table:
    """Read the rows from ``start`` to before ``stop``, decoding only the row groups they are in.

    Args:
        path: path of a Parquet file.
        start: number of the first row.
        stop: number after that of the last row, which may lie beyond the end.
        columns: names of the columns; None for all.
    """
    with path.open("rb") as file:
        table = pq.ParquetFile(file)
        sizes = [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)]
        ends = np.cumsum(sizes)
        begins = ends - sizes
        groups = np.flatnonzero((ends > start) & (begins < stop))
        if groups.size == 0:
            return table.schema_arrow.empty_table()
        rows = table.read_row_groups(groups.tolist(), columns=columns)
        return rows.slice(start - int(begins[groups[0]]), stop - start)
