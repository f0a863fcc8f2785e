"""Opens files that may be compressed, within limits, since a small file may unpack to any size."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from upath import UPath

# As much as a shard may hold of one record.
MAX_LINE_BYTES = 64 * 2**20
_OPENERS: Mapping[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
# What is read last before a damaged place is lost, so this is small.
_BUFFER_BYTES = 2**14
_PIECE_BYTES = 2**20


@contextmanager
def unpacked(path: UPath) -> Iterator[IO[bytes]]:
    """Open a file to be read once from its beginning; its content says how it is compressed.

    Raises:
        ValueError: it is compressed, and what is read of it is damaged or ends too early.
    """
    with path.open("rb") as file:
        first = file.read(max(map(len, _OPENERS)))
        file.seek(0)
        opener = next((one for magic, one in _OPENERS.items() if first.startswith(magic)), None)
        if opener is None:
            yield file
            return
        try:
            with opener(file) as packed:
                yield io.BufferedReader(packed, _BUFFER_BYTES)
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the storage, not of the archive
            raise ValueError(f"damaged archive: {error}") from error


def whole(path: UPath, max_bytes: int) -> bytes:
    """Read a whole file.

    Raises:
        ValueError: it is empty or damaged, or it unpacks to more than ``max_bytes``.
    """
    pieces = bytearray()
    with unpacked(path) as file:
        # To ask for all at once would take the memory of ``max_bytes``, however small the file.
        while len(pieces) <= max_bytes and (piece := file.read(_PIECE_BYTES)):
            pieces += piece
    if len(pieces) > max_bytes:
        raise ValueError(f"too large: it holds more than {max_bytes / 2**20:.3g} MiB")
    if not pieces:
        raise ValueError("empty file: it has no content")
    return bytes(pieces)


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
