"""Reads the tables of labels that users bring: CSV, TSV, Parquet and JSON lines."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.files import read_file

Columns = Mapping[str, Sequence[Any]]
"""The cells of a table by column. Those of CSV and TSV are strings, and the empty one is ''."""

_GZIP = ".gz"
_CANNOT_READ = (
    ValueError,  # includes those of JSON, of UTF-8 and of pandas' parser
    EOFError,
    OSError,
    zlib.error,
    pa.ArrowException,
)


def read_columns(path: UPath, key: str) -> Columns:
    """Read a table.

    Args:
        path: the file, whose ending says what it is; ``.gz`` may follow.
        key: key of the job file that names it, with which error messages begin.

    Raises:
        UserError: the file cannot be read as a table.
    """
    is_packed = path.name.lower().endswith(_GZIP)
    ending = UPath(path.name[: -len(_GZIP)] if is_packed else path.name).suffix.lower()
    if ending not in _READERS:
        raise UserError(
            f"{key}: {path} has none of the endings {', '.join(_READERS)}, plain or with .gz; "
            "save the table as one of these"
        )
    data = read_file(path)
    try:
        columns = _READERS[ending](gzip.decompress(data) if is_packed else data)
    except _CANNOT_READ as error:
        told = " ".join(str(error).split())
        raise UserError(f"{key}: {path} cannot be read as a {ending} table: {told}") from error
    if not columns or not any(len(cells) for cells in columns.values()):
        raise UserError(f"{key}: {path} holds no rows; give a table with a header and rows")
    return columns


def _separated(data: bytes, separator: str) -> Columns:
    if b"\0" in data:  # pandas would end a cell there
        raise ValueError("it holds NUL bytes, so it is no text in UTF-8")
    # The header is read like any other line, since pandas would rename a column that repeats.
    frame = pd.read_csv(
        io.BytesIO(data),
        sep=separator,
        header=None,
        dtype=str,
        keep_default_na=False,
        skipinitialspace=True,
        encoding="utf-8-sig",
    )
    header, *rows = frame.fillna("").to_numpy().tolist()
    names = [name.strip() for name in header]
    _refuse_repeated(names)
    columns = zip(*rows, strict=True) if rows else ((),) * len(names)
    return {name: cells for name, cells in zip(names, columns, strict=True) if name}


def _parquet(data: bytes) -> Columns:
    table = pq.read_table(pa.BufferReader(data))
    _refuse_repeated(table.column_names)
    columns: dict[str, list[Any]] = table.to_pydict()
    return columns


def _json_lines(data: bytes) -> Columns:
    rows = [json.loads(line) for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is no JSON object")
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _refuse_repeated(names: Sequence[str]) -> None:
    if again := next((name for name in names if name and names.count(name) > 1), None):
        raise ValueError(f"two columns are called {again!r}; rename one")


_READERS: Mapping[str, Callable[[bytes], Columns]] = {
    ".csv": lambda data: _separated(data, ","),
    ".tsv": lambda data: _separated(data, "\t"),
    ".parquet": _parquet,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}
