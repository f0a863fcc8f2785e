"""Whole files: a reader sees all of a file or nothing, and reading is tried again."""

from __future__ import annotations

import json
import uuid
from contextlib import suppress
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.retry import patiently
from omnimat.base.storage_errors import told_of

TEMPORARY_SUFFIX = ".partial"
MAX_TABLE_BYTES = 4 << 30  # in memory; predictions of curves for a million materials

# Their objects appear whole when the upload ends, and a rename would be a copy.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})


def read_file(path: UPath) -> bytes:
    """Read a file, and try again while reading fails for a passing cause.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it may not be read, or the filesystem's package is not installed.
        RunError: the storage did not answer.
    """
    return patiently(lambda: bytes(path.fs.cat_file(path.path)), path)


def parquet_frame(data: bytes | memoryview, max_bytes: int = MAX_TABLE_BYTES) -> pd.DataFrame:
    """Parse a Parquet file, whose table may be a million times as large as the file.

    It is not read through a Python file object: a thread of Arrow's pool may be the last to hold
    one, and then aborts a process that is ending (https://github.com/apache/arrow/issues/34314).

    Args:
        data: the content of the file.
        max_bytes: how large the table may be in memory, by what the file says of itself.

    Raises:
        pyarrow.ArrowException: the bytes are not those of a Parquet file, or the table is larger.
    """
    if (size_bytes := _table_bytes(data)) > max_bytes:
        raise pa.ArrowInvalid(f"its table has {size_bytes:,} bytes; {max_bytes:,} are read")
    frame: pd.DataFrame = pq.read_table(pa.BufferReader(data)).to_pandas()
    return frame


def parquet_bytes(table: pa.Table) -> bytes:
    """Write a table as a Parquet file, the bytes of which depend on the table alone."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _table_bytes(data: bytes | memoryview) -> int:
    """Give the size of a table by the footer of its file; a value that is nowhere has 8 bytes."""
    footer = pq.read_metadata(pa.BufferReader(data))
    groups = (footer.row_group(place) for place in range(footer.num_row_groups))
    encoded_bytes = sum(group.total_byte_size for group in groups)
    size_bytes: int = max(encoded_bytes, 8 * footer.num_rows * footer.num_columns)
    return size_bytes


def write_atomically(path: UPath, data: bytes) -> None:
    """Write a file so that a kill at any moment leaves all of it or nothing.

    An object store gets it in one upload. Elsewhere it is written under a temporary name in the
    same folder and then renamed; a kill in between leaves a ``*.partial`` file.

    Raises:
        UserError: it may not be written, or the bucket does not exist.
        RunError: there is no room for it, or the storage did not answer.
    """
    if path.protocol in _OBJECT_STORES:
        _upload(path, data)
        return
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        path.fs.mv(temporary.path, path.path)
    except OSError as error:
        with suppress(OSError):  # of a full disk: nothing is left half written
            temporary.unlink(missing_ok=True)
        raise told_of(error, path) or error from error


def write_json(path: UPath, value: Any) -> None:
    """Write a value as JSON for people and programs, as ``write_atomically`` does."""
    write_atomically(path, f"{json.dumps(value, indent=1)}\n".encode())


def _upload(path: UPath, data: bytes) -> None:
    try:
        patiently(lambda: path.fs.pipe_file(path.path, data), path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: its bucket does not exist; make it first") from error


def remove_temporaries(directory: UPath) -> None:
    """Remove what killed writers left in a folder; call it only while nobody writes there."""
    for path in list(directory.iterdir()):
        if path.name.endswith(TEMPORARY_SUFFIX):
            path.unlink()
