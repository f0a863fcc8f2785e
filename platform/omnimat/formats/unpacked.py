"""Opens files that may be gzipped, within limits, since a small file may unpack to any size."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from upath import UPath

# As much as a shard may hold of one record.
MAX_LINE_BYTES = 64 * 2**20
_GZIP_MAGIC = b"\x1f\x8b"
# What is read last before a damaged place is lost, so this is small.
_BUFFER_BYTES = 2**14


@contextmanager
def unpacked(path: UPath) -> Iterator[IO[bytes]]:
    """Open a file to be read once from its beginning; its content says whether it is gzipped.

    Raises:
        ValueError: it is gzipped, and what is read of it is damaged or ends too early.
    """
    with path.open("rb") as file:
        magic = file.read(len(_GZIP_MAGIC))
        file.seek(0)
        if magic != _GZIP_MAGIC:
            yield file
            return
        try:
            with gzip.GzipFile(fileobj=file) as packed:
                yield io.BufferedReader(packed, _BUFFER_BYTES)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"damaged gzip file: {error}") from error


def whole(path: UPath, max_bytes: int) -> bytes:
    """Read a whole file.

    Raises:
        ValueError: it is empty or damaged, or it unpacks to more than ``max_bytes``.
    """
    with unpacked(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"too large: its content has over {max_bytes} bytes")
    if not data:
        raise ValueError("empty file: it has no content")
    return data


def beginning(path: UPath, num_bytes: int) -> bytes:
    """Read the first bytes of a file, or those before the place where it is damaged."""
    found = b""
    try:
        with unpacked(path) as file:
            while len(found) < num_bytes and (more := file.read1(num_bytes)):  # type: ignore[attr-defined]
                found += more
    except ValueError:
        pass  # whoever reads the file says so
    return found[:num_bytes]


def lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Yield the lines of a file, with None for one that is longer than ``MAX_LINE_BYTES``."""
    while line := file.readline(MAX_LINE_BYTES):
        if len(line) < MAX_LINE_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
            pass
        yield None
