"""The files of a table: which ones a path stands for, and how each is read."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal

import pyarrow as pa
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.paths import absolute_path, expanded_path
from omnimat.sources.tables.parquet import ParquetRows
from omnimat.sources.tables.rows import Rows
from omnimat.sources.tables.text import TextFile, TextRows

_KEY = "source.path"
_LAYOUT_OF_ENDING: Mapping[str, Literal["csv", "json_lines", "parquet"]] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".dat": "csv",
    ".jsonl": "json_lines",
    ".ndjson": "json_lines",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_ENDING = re.compile(r"(\.[^.]+?)(\.gz)?$")
_WILDCARD = re.compile(r"[*?\[]")


def located_path(path: str) -> str:
    """Make a path or pattern absolute.

    Raises:
        UserError: it does not exist; for a pattern, the folder before its first wildcard.
    """
    if not _WILDCARD.search(path):
        return absolute_path(path, _KEY)
    root, pattern = _split(path)
    return f"{absolute_path(root, _KEY)}/{pattern}"


def files_of(path: str) -> dict[str, UPath]:
    """Return the files that a path, folder or pattern stands for, by name and in order of it.

    The name of a file is its path below the folder, or below the part before the first wildcard.

    Raises:
        UserError: there are none, or the ending of one says no format.
    """
    if _WILDCARD.search(path):
        root, pattern = _split(path)
        folder = expanded_path(root, _KEY)
        found = [file for file in folder.glob(pattern) if file.is_file()]
    else:
        folder = expanded_path(path, _KEY)
        if not folder.is_dir():
            layout_of(folder)
            return {folder.name: folder}
        found = [file for file in folder.iterdir() if _is_table(file) and file.is_file()]
    if not found:
        raise UserError(f"{_KEY}: {path} has no tables ({', '.join(_LAYOUT_OF_ENDING)})")
    for file in found:
        layout_of(file)
    named = {file.path.removeprefix(folder.path).lstrip("/"): file for file in found}
    return dict(sorted(named.items()))


def layout_of(file: UPath, key: str = _KEY) -> Literal["csv", "json_lines", "parquet"]:
    """Return what the ending of a file says about it.

    Args:
        file: path of the file.
        key: key of the job file that names it, with which error messages begin.

    Raises:
        UserError: it says nothing.
    """
    match = _ENDING.search(file.name)
    layout = _LAYOUT_OF_ENDING.get(match[1].lower()) if match else None
    if layout is None or (layout == "parquet" and file.name.endswith(".gz")):
        raise UserError(
            f"{key}: the ending of {file} must be one of {', '.join(_LAYOUT_OF_ENDING)}; those of "
            "text may be followed by .gz"
        )
    return layout


def is_single(path: str) -> bool:
    """Say whether a path is that of one file, neither a folder nor a pattern."""
    return not _WILDCARD.search(path) and not expanded_path(path, _KEY).is_dir()


def stem_of(name: str) -> str:
    """Return the name of a file without folders and ending."""
    return _ENDING.sub("", PurePosixPath(name).name)


def rows_of(
    file: UPath,
    encoding: str = "utf-8",
    separator: str | None = None,
    max_rows: int | None = None,
    key: str = _KEY,
) -> Rows:
    """Open a file, as it is now.

    Args:
        file: path of the file.
        encoding: encoding of text files.
        separator: separator of CSV files; None if the header is to tell.
        max_rows: how many rows count, from the beginning; None for all.
        key: key of the job file that names it, with which error messages begin.
    """
    layout, status = layout_of(file, key), file.stat()
    size_bytes, mtime_ns = status.st_size, status.st_mtime_ns
    if layout == "parquet":
        return _parquet(file, size_bytes, mtime_ns, max_rows, key)
    return TextRows(
        TextFile(file, size_bytes, mtime_ns, layout, encoding, separator, max_rows, key)
    )


@functools.lru_cache(maxsize=1024)
def _parquet(
    file: UPath, size_bytes: int, mtime_ns: int, max_rows: int | None, key: str
) -> ParquetRows:
    """Remember the schema of files while they stay as they are."""
    del size_bytes, mtime_ns
    return ParquetRows(file, max_rows, key)


def read_columns(file: UPath, key: str) -> Mapping[str, Sequence[Any]]:
    """Read a whole table.

    Args:
        file: path of the file.
        key: key of the job file that names it, with which error messages begin.

    Returns:
        The values of each column that has a name, None where there is none.

    Raises:
        UserError: the file cannot be read as a table, or has no rows.
    """
    rows = rows_of(file, key=key)
    found: list[Mapping[str, Any]] = []
    try:
        for number, row in enumerate(rows.read(0, rows.count(), rows.columns), 1):
            if isinstance(row, ValueError):
                raise UserError(f"{key}: {file}: row {number} {row}; mend it")
            found.append(row)
    except (OSError, pa.ArrowException) as error:
        told = " ".join(str(error).split())
        raise UserError(f"{key}: {file} cannot be read: {told}") from error
    if not found:
        raise UserError(f"{key}: {file} holds no rows; give a table with a header and rows")
    names = dict.fromkeys(name for row in found for name in row if name)
    return {name: [row.get(name) for row in found] for name in names}


def _is_table(file: UPath) -> bool:
    match = _ENDING.search(file.name)
    return not file.name.startswith((".", "_")) and bool(
        match and match[1].lower() in _LAYOUT_OF_ENDING
    )


def _split(pattern: str) -> tuple[str, str]:
    """Split a pattern before the first part that has a wildcard."""
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if _WILDCARD.search(part))
    return "/".join(parts[:first]) or ("/" if pattern.startswith("/") else "."), "/".join(
        parts[first:]
    )
