"""The text in the bytes of a file."""

from __future__ import annotations

import codecs

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


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
