"""Reads JSON documents of crystals, whole or a line each, plain or gzipped."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from upath import UPath

from omnimat.formats.document_entries import holds_crystal, name_of, record
from omnimat.formats.format import Format, Reading
from omnimat.formats.json_text import check_finite, parsed
from omnimat.formats.unpacked import beginning, lines, unpacked, whole
from omnimat.materials.record import Failure, Record

_HERE = "omnimat.formats.documents"

JSON = Format(
    label="JSON",
    patterns=("*.json", "*.json.gz"),
    read=f"{_HERE}:read",
    count=f"{_HERE}:count",
    recognises=f"{_HERE}:recognises",
)
JSON_LINES = Format(
    label="JSON lines",
    patterns=tuple(f"*.{name}{gz}" for name in ("jsonl", "ndjson") for gz in ("", ".gz")),
    read=f"{_HERE}:read_lines",
    count=f"{_HERE}:count_lines",
    recognises=f"{_HERE}:recognises",
)

_MAX_BYTES = 2 * 2**30
_MAX_REASON = 200
# Where a document has a text or a list instead of an object, or the other way round.
_MALFORMED = (TypeError, KeyError, AttributeError, OverflowError)
_NUM_BYTES_LOOKED_AT = 64 * 2**10
_SIGNS = re.compile(
    rb'"lattice"\s*:\s*\{|"(lattice_mat|lattice_vectors|cartesian_site_positions)"\s*:'
    rb'|"@class"\s*:\s*"(Structure|ComputedStructureEntry|ComputedEntry)"'
    rb'|"(numbers|positions)"\s*:\s*\{\s*"__ndarray__"|^\s*\{\s*"1"\s*:\s*\{\s*"(calculator|cell)"'
)
# A table of pandas, which may list so many ids that its columns are not among the first bytes.
_TABLE = re.compile(rb'^\s*\{\s*"index"\s*:\s*\[')
_COLUMNS = re.compile(rb'"columns"\s*:')

Entry = tuple[str, Any]


def recognises(path: UPath) -> bool:
    """Say whether the beginning of a file shows that it holds crystals."""
    seen = beginning(path, _NUM_BYTES_LOOKED_AT)
    if _SIGNS.search(seen):
        return True
    return bool(_TABLE.match(seen)) and not _COLUMNS.search(seen)


def read(path: UPath, reading: Reading, start: int, stop: int) -> Iterator[Record | Failure]:
    """Read some entries of a document, which is parsed whole and kept until another one is read.

    Raises:
        ValueError: nothing in the document can be read.
    """
    entries, may_hold_nan = _document(path)
    for name, entry in entries[start:stop]:
        yield _result(name, entry, may_hold_nan, reading)


def count(path: UPath) -> int:
    """Count the entries of a document; one that cannot be read counts as one."""
    try:
        return len(_document(path)[0])
    except ValueError:
        return 1


def read_lines(path: UPath, reading: Reading, start: int, stop: int) -> Iterator[Record | Failure]:
    """Read some lines, which are named as they say, or else by their numbers."""
    for number, line in enumerate(islice(_lines(path), start, stop), start):
        name = str(number)
        try:
            if isinstance(line, ValueError):
                raise line
            entry, may_hold_nan = parsed(line)
        except ValueError as error:
            yield Failure(name, str(error))
            continue
        yield _result(name_of(entry) or name, entry, may_hold_nan, reading)


def count_lines(path: UPath) -> int:
    """Count the lines that are not blank; a place where a file is damaged counts as one."""
    return sum(1 for _ in _lines(path))


def _lines(path: UPath) -> Iterator[bytes | ValueError]:
    is_empty = True
    try:
        with unpacked(path) as file:
            for line in lines(file):
                if line is None:
                    yield ValueError("too large: the line is too long for one crystal")
                elif line.strip():
                    yield line
                is_empty = False
    except ValueError as error:
        yield error
        return
    if is_empty:
        yield ValueError("empty file: it has no lines")


def _result(name: str, entry: Any, may_hold_nan: bool, reading: Reading) -> Record | Failure:
    try:
        if may_hold_nan:
            check_finite(entry)
        return record(name, entry, reading)
    except ValueError as error:
        return Failure(name, str(error))
    except _MALFORMED as error:
        return Failure(name, f"malformed: a value is of another kind ({error})"[:_MAX_REASON])


def _document(path: UPath) -> tuple[Sequence[Entry], bool]:
    stat = path.stat()
    return _parsed_document(path, stat.st_mtime, stat.st_size)


@functools.lru_cache(maxsize=1)
def _parsed_document(path: UPath, mtime: float, size: int) -> tuple[Sequence[Entry], bool]:
    del mtime, size  # they tell a file from an older one of its name
    document, may_hold_nan = parsed(whole(path, _MAX_BYTES))
    found = entries_of(document)
    if not any(holds_crystal(entry) for _, entry in found):
        raise ValueError("no structure: the document holds none in a form that is known")
    return found, may_hold_nan


def entries_of(document: Any) -> Sequence[Entry]:
    """List the entries of a document with their names.

    It is one entry, a list of them, an object with one for each id, a table as pandas splits it,
    or an object that has them under ``data`` (OPTIMADE) or ``entries``.
    """
    if isinstance(document, list):
        return [(name_of(one) or str(i), one) for i, one in enumerate(document)]
    if not isinstance(document, dict) or holds_crystal(document):
        return [(name_of(document), document)]
    if {"index", "columns", "data"} <= document.keys():
        return _rows(document)
    for key in ("data", "entries"):
        if isinstance(document.get(key), list | dict):
            return entries_of(document[key])
    ids = document.get("ids")
    if isinstance(ids, list) and "nextid" in document:
        return [(str(one), document.get(str(one))) for one in ids]
    return list(document.items())


def _rows(table: dict[str, Any]) -> Sequence[Entry]:
    """Name each row of a table by its index.

    Raises:
        ValueError: the table is not regular.
    """
    index, columns, rows = (table[key] for key in ("index", "columns", "data"))
    try:
        pairs = zip(index, rows, strict=True)
        return [(str(one), dict(zip(columns, row, strict=True))) for one, row in pairs]
    except (TypeError, ValueError) as error:
        raise ValueError("wrong counts: the table's index, columns and data do not fit") from error
