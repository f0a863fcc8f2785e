"""The files of a table: which ones a path stands for, and how each is read."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Literal

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


def layout_of(file: UPath) -> Literal["csv", "json_lines", "parquet"]:
    """Return what the ending of a file says about it.

    Raises:
        UserError: it says nothing.
    """
    match = _ENDING.search(file.name)
    layout = _LAYOUT_OF_ENDING.get(match[1].lower()) if match else None
    if layout is None or (layout == "parquet" and file.name.endswith(".gz")):
        raise UserError(
            f"{_KEY}: the ending of {file} must be one of {', '.join(_LAYOUT_OF_ENDING)}; those of "
            "text may be followed by .gz"
        )
    return layout


def is_single(path: str) -> bool:
    """Say whether a path is that of one file, neither a folder nor a pattern."""
    return not _WILDCARD.search(path) and not expanded_path(path, _KEY).is_dir()


def stem_of(name: str) -> str:
    """Return the name of a file without folders and ending."""
    return _ENDING.sub("", PurePosixPath(name).name)


def rows_of(file: UPath, encoding: str, separator: str | None, max_rows: int | None) -> Rows:
    """Open a file, as it is now.

    Args:
        file: path of the file.
        encoding: encoding of text files.
        separator: separator of CSV files; None if the header is to tell.
        max_rows: how many rows count, from the beginning; None for all.
    """
    layout, status = layout_of(file), file.stat()
    if layout == "parquet":
        return _parquet(file, status.st_size, status.st_mtime_ns, max_rows)
    return TextRows(
        TextFile(file, status.st_size, status.st_mtime_ns, layout, encoding, separator, max_rows)
    )


@functools.lru_cache(maxsize=1024)
def _parquet(file: UPath, size_bytes: int, mtime_ns: int, max_rows: int | None) -> ParquetRows:
    """Remember the schema of files while they stay as they are."""
    del size_bytes, mtime_ns
    return ParquetRows(file, max_rows)


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
