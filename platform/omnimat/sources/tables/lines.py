"""Lines of text files, plain or gzipped and in any encoding, from any row on.

A row is one line of JSON, or one or more lines of CSV, since a quoted field may hold line breaks.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import IO

from upath import UPath

from omnimat.base.errors import UserError

_BROKEN_ARCHIVE = (gzip.BadGzipFile, EOFError, zlib.error)
_File = IO[bytes] | gzip.GzipFile
_BYTE_ORDER_MARK = "\ufeff"


class Lines(Iterator[str]):
    """The decoded lines of a file.

    Attributes:
        position_bytes: position after the last line that was given, in the decompressed file.
        is_damaged: whether a line had NUL, or bytes that the encoding does not have; to be reset by
            whoever looks at it.
    """

    def __init__(self, lines: Iterable[bytes], encoding: str, position_bytes: int) -> None:
        self.position_bytes = position_bytes
        self.is_damaged = False
        self._lines = iter(lines)
        self._encoding = encoding

    def __next__(self) -> str:
        line = next(self._lines)
        is_first = self.position_bytes == 0
        self.position_bytes += len(line)
        try:
            text = line.decode(self._encoding)
        except UnicodeDecodeError:
            self.is_damaged = True
            text = line.decode(self._encoding, "replace")
        self.is_damaged |= "\0" in text
        return text.removeprefix(_BYTE_ORDER_MARK) if is_first else text


@contextmanager
def open_lines(path: UPath, encoding: str, key: str, position_bytes: int = 0) -> Generator[Lines]:
    """Open a file at a position that ``Lines`` told before.

    A gzipped file is decompressed up to there. An encoding in which a line break is not the byte of
    ASCII (UTF-16) is turned into UTF-8 first, in which positions are counted then.

    Raises:
        UserError: the file is no whole gzip archive, or not in an encoding such as UTF-16; the
            message begins with ``key``.
    """
    try:
        with path.open("rb") as raw, _plain(path, raw) as file:
            if "\n".encode(encoding) == b"\n":
                file.seek(position_bytes)
                yield Lines(file, encoding, position_bytes)
            else:
                yield _skipped(Lines(_in_utf8(file, encoding), "utf-8", 0), position_bytes)
    except _BROKEN_ARCHIVE as error:
        raise UserError(f"{key}: {path} is no whole gzip archive: {error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"source.encoding: {path} is not in {encoding}: {error}") from error


def _plain(path: UPath, raw: IO[bytes]) -> AbstractContextManager[_File]:
    return gzip.open(raw) if path.suffix == ".gz" else nullcontext(raw)


def check_encoding(encoding: str) -> str:
    """Return the name of an encoding that Python knows.

    Raises:
        ValueError: Python does not know it.
    """
    try:
        return codecs.lookup(encoding).name
    except LookupError as error:
        raise ValueError(f"unknown encoding {encoding!r}") from error


def _in_utf8(file: _File, encoding: str) -> Iterator[bytes]:
    text = io.TextIOWrapper(file, encoding, newline="")
    for line in text:
        yield line.encode()
    text.detach()


def _skipped(lines: Lines, position_bytes: int) -> Lines:
    while lines.position_bytes < position_bytes:
        next(lines)
    return lines
