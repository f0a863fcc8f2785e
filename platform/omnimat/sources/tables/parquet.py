"""Parquet files, of which only the row groups and columns that are needed are decoded."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.sources.tables.rows import refuse_repeated
from omnimat.sources.tables.values import Kind

_ROWS_PER_BATCH = 64
_DAMAGED = (pa.ArrowException, OSError)


class ParquetRows:
    """The rows of a Parquet file."""

    def __init__(self, path: UPath, max_rows: int | None, key: str) -> None:
        """Read the schema.

        Args:
            path: path of the file.
            max_rows: how many rows count, from the beginning; None for all.
            key: key of the job file that names it, with which error messages begin.

        Raises:
            UserError: the file is no Parquet file, or two of its columns have the same name.
        """
        self._path, self._max_rows = path, max_rows
        try:
            with path.open("rb") as file:
                table = pq.ParquetFile(file)
                schema, sizes = table.schema_arrow, _sizes_of_groups(table)
        except _DAMAGED as error:
            _raise_if_of_the_storage(error)
            raise UserError(f"{key}: {path} is no Parquet file: {error}") from error
        self._ends = np.cumsum(sizes, dtype=np.int64).tolist()
        self.columns: tuple[str, ...] = tuple(schema.names)
        refuse_repeated(self.columns, f"{key}: {path}")
        self.kinds: Mapping[str, Kind] = {}  # the schema has types
        self.metadata = {
            key.decode(errors="replace"): value.decode(errors="replace")
            for key, value in (schema.metadata or {}).items()
        }

    def count(self) -> int:
        """Count the rows."""
        num_rows: int = self._ends[-1] if self._ends else 0
        return num_rows if self._max_rows is None else min(self._max_rows, num_rows)

    def read(
        self, start: int, stop: int, columns: Collection[str]
    ) -> Iterator[Mapping[str, Any] | ValueError]:
        """Read the rows from ``start`` to before ``stop``; a damaged row group costs its rows."""
        wanted = [name for name in self.columns if name in columns]
        for begin, end in zip([0, *self._ends], self._ends, strict=False):
            first, last = max(start, begin), min(stop, end)
            if first < last:
                yield from self._of_group(first, last, wanted)

    def _of_group(
        self, start: int, stop: int, columns: list[str]
    ) -> Iterator[Mapping[str, Any] | ValueError]:
        try:
            batches = read_slice(self._path, start, stop, columns).to_batches(_ROWS_PER_BATCH)
        except _DAMAGED as error:
            _raise_if_of_the_storage(error)
            told = " ".join(str(error).split())
            yield from [ValueError(f"its row group is damaged: {told}")] * (stop - start)
            return
        for batch in batches:
            yield from _rows_of(batch)


def _rows_of(batch: pa.RecordBatch) -> list[Any]:
    """Turn a batch into rows; one with bytes that are no text costs itself."""
    try:
        return list(batch.to_pylist())
    except ValueError as error:
        if batch.num_rows == 1:
            return [ValueError(f"holds a value that cannot be read: {error}")]
    return [row for i in range(batch.num_rows) for row in _rows_of(batch.slice(i, 1))]


def _sizes_of_groups(table: pq.ParquetFile) -> list[int]:
    return [table.metadata.row_group(i).num_rows for i in range(table.num_row_groups)]


def _raise_if_of_the_storage(error: Exception) -> None:
    """Raise an error that may be gone when the file is read again; pyarrow's have no number."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error


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
        sizes = _sizes_of_groups(table)
        ends = np.cumsum(sizes)
        begins = ends - sizes
        groups = np.flatnonzero((ends > start) & (begins < stop))
        if groups.size == 0:
            return table.schema_arrow.empty_table()
        rows = table.read_row_groups(groups.tolist(), columns=columns)
        return rows.slice(start - int(begins[groups[0]]), stop - start)
