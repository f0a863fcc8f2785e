"""CSV files and JSON lines, of which an index of byte positions lets any slice be read."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.materials.values import known
from omnimat.sources.tables.lines import Lines, open_lines
from omnimat.sources.tables.rows import refuse_repeated
from omnimat.sources.tables.values import Kind, is_list

Row = Mapping[str, Any]
Layout = Literal["csv", "json_lines"]
_Raw = list[str] | str | ValueError

_ROWS_PER_POSITION = 64
_SAMPLE_ROWS = 1000
_SEPARATORS = ",\t;|"
# A quote that is never closed would else make one field of the rest of a file.
_MAX_FIELD_CHARACTERS = 64 * 2**20
_END = "\0end of the file"


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text file as it was when it was looked at, by which its index is remembered.

    Attributes:
        path: path of the file.
        size_bytes: its size.
        mtime_ns: when it was last modified.
        layout: what a row is.
        encoding: its encoding.
        separator: separator of its fields; None if the header is to tell.
        max_rows: how many rows count, from the beginning; None for all.
        key: key of the job file that names it, with which error messages begin.
    """

    path: UPath
    size_bytes: int
    mtime_ns: int
    layout: Layout
    encoding: str
    separator: str | None
    max_rows: int | None
    key: str

    def lines(self, position_bytes: int = 0) -> AbstractContextManager[Lines]:
        """Open it at a position."""
        return open_lines(self.path, self.encoding, self.key, position_bytes)


class TextRows:
    """The rows of a text file."""

    metadata: Mapping[str, str] = {}

    def __init__(self, file: TextFile) -> None:
        self._file = file

    @property
    def columns(self) -> tuple[str, ...]:
        """The header of a CSV file; of JSON lines, all keys of the first rows."""
        return _beginning(self._file).columns

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What more than half of the values of a column are, in the first rows."""
        return _kinds(self._file)

    def count(self) -> int:
        """Count the rows, which takes one pass over the file."""
        return _index(self._file)[1]

    def read(self, start: int, stop: int, columns: Collection[str]) -> Iterator[Row | ValueError]:
        """Read the rows from ``start`` to before ``stop``, on from the nearest known position."""
        del columns
        positions_bytes, num_rows = _index(self._file)
        if start >= min(stop, num_rows):
            return
        nearest, skipped = divmod(start, _ROWS_PER_POSITION)
        rows = _rows(self._file, int(positions_bytes[nearest]))
        yield from islice(rows, skipped, skipped + min(stop, num_rows) - start)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """What the beginning of a file tells: its columns, its separator, and where its rows begin."""

    columns: tuple[str, ...]
    separator: str
    position_bytes: int


@functools.cache
def _beginning(file: TextFile) -> _Beginning:
    with file.lines() as lines:
        if file.layout == "json_lines":
            rows = map(_from_json, islice(_raw_json(lines), _SAMPLE_ROWS))
            names = dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)
            return _Beginning(tuple(names), "", 0)
        first = next(lines, "")
        separator = file.separator or max(_SEPARATORS, key=first.count)
        try:
            header: list[str] = next(_fields(chain([first], lines), separator), [])
        except csv.Error as error:
            raise UserError(f"{file.key}: {file.path} has no header: {error}") from error
        columns = tuple(name.strip() for name in header)
        refuse_repeated(columns, f"{file.key}: {file.path}")
        return _Beginning(columns, separator, lines.position_bytes)


@functools.cache
def _index(file: TextFile) -> tuple[NDArray[np.int64], int]:
    """Return the position of every ``_ROWS_PER_POSITION``-th row, and the number of rows."""
    positions: list[int] = []
    num_rows = 0
    with file.lines(_beginning(file).position_bytes) as lines:
        raw = _raw(file, lines)
        position = lines.position_bytes
        for _ in islice(raw, file.max_rows):
            if num_rows % _ROWS_PER_POSITION == 0:
                positions.append(position)
            position = lines.position_bytes
            num_rows += 1
    return np.array(positions, dtype=np.int64), num_rows


@functools.cache
def _kinds(file: TextFile) -> Mapping[str, Kind]:
    rows = islice(_rows(file, _beginning(file).position_bytes), _SAMPLE_ROWS)
    sample = [row for row in rows if not isinstance(row, ValueError)]
    kinds = {
        name: _kind([row[name] for row in sample if known(row.get(name)) is not None], file.layout)
        for name in _beginning(file).columns
    }
    return {name: kind for name, kind in kinds.items() if kind is not None}


def _kind(values: list[Any], layout: Layout) -> Kind | None:
    if layout == "csv":
        is_number = ~np.isnan(pd.to_numeric(np.array(values, dtype=object), errors="coerce"))
    else:
        is_number = np.array([type(value) in {int, float} for value in values])
    if 2 * is_number.sum() > len(values):
        return "number"
    return "list" if 2 * sum(map(is_list, values)) > len(values) else None


def _rows(file: TextFile, position_bytes: int) -> Iterator[Row | ValueError]:
    beginning = _beginning(file)
    convert: Callable[[Any], Row | ValueError] = _from_json
    if file.layout == "csv":
        convert = functools.partial(_from_fields, beginning.columns)
    with file.lines(position_bytes) as lines:
        for raw in _raw(file, lines):
            is_damaged, lines.is_damaged = lines.is_damaged, False
            if is_damaged:
                yield ValueError(f"holds NUL, or bytes that are not {file.encoding}")
            else:
                yield raw if isinstance(raw, ValueError) else convert(raw)


def _raw(file: TextFile, lines: Lines) -> Iterator[_Raw]:
    """Yield the rows that are not empty, before their values are looked at."""
    if file.layout == "json_lines":
        return _raw_json(lines)
    where = f"{file.key}: {file.path}"
    return _raw_csv(lines, _beginning(file).separator, where)


def _raw_json(lines: Lines) -> Iterator[str]:
    return (line for line in lines if not line.isspace())


def _raw_csv(lines: Lines, separator: str, where: str) -> Iterator[_Raw]:
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    reader = _fields(chain(lines, [_END]), separator)
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except csv.Error as error:
            if "field larger" in str(error):
                raise _unclosed(where, line) from error
            yield ValueError(f"is no row of a CSV file: {error}")
            continue
        if fields == [_END]:
            return
        if fields and fields[-1].endswith(_END):
            raise _unclosed(where, line)
        if fields:
            yield fields


def _fields(lines: Iterable[str], separator: str) -> Any:
    """Split lines into fields; blanks before a field do not belong to it."""
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def _unclosed(where: str, line: int) -> UserError:
    return UserError(
        f"{where}: a quote is never closed that opens in the row {line} lines after "
        "the header; close it"
    )


def _from_fields(columns: tuple[str, ...], fields: list[str]) -> Row | ValueError:
    if len(fields) != len(columns):
        return ValueError(f"has {len(fields)} fields instead of {len(columns)}")
    return {name: value or None for name, value in zip(columns, fields, strict=True)}


def _from_json(line: str) -> Row | ValueError:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return ValueError(f"is no JSON: {error}")
    return row if isinstance(row, dict) else ValueError("is no JSON object")
