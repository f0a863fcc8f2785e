"""The bytes of files that are read whole, and the text in them."""

from __future__ import annotations

import codecs

from upath import UPath

from omnimat.base.retry import patiently

_BYTES_PER_MB = 1_000_000
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def first_bytes(path: UPath, num_bytes: int) -> bytes:
    """Read the beginning of a file, and try again while reading fails for a passing cause.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it may not be read.
        RunError: the storage did not answer.
    """

    def read() -> bytes:
        with path.open("rb") as file:
            return bytes(file.read(num_bytes))

    return patiently(read, path)


def whole_file(path: UPath, max_mb: int) -> bytes:
    """Read a file of at most ``max_mb`` megabytes; errors are those of ``first_bytes``.

    Raises:
        ValueError: the file is larger.
    """
    data = first_bytes(path, max_mb * _BYTES_PER_MB + 1)
    if len(data) > max_mb * _BYTES_PER_MB:
        raise ValueError(f"the file is too large: it has more than {max_mb} MB")
    return data


def decoded(data: bytes) -> tuple[str, str]:
    """Decode text that is in UTF-8 or has a byte order mark, and any other as Latin-1.

    Returns:
        The text, and the encoding that was used.

    Raises:
        ValueError: the bytes are not text.
    """
    marked = next((name for mark, name in _MARKS.items() if data.startswith(mark)), None)
    text, encoding = _decoded(data, marked or "utf-8")
    if "\0" in text:
        raise ValueError("the file is not text")
    return text, encoding


def _decoded(data: bytes, encoding: str) -> tuple[str, str]:
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"
