"""Descriptions of a material in words, as plain text or Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from upath import UPath

from omnimat.formats.decoding import decoded
from omnimat.formats.format import Format, Reading
from omnimat.formats.powder import recognises as is_pattern
from omnimat.formats.unpacked import beginning, whole
from omnimat.materials.record import Failure, Record

_MAX_BYTES = 2**20
_NUM_BYTES_SEEN = 65_536

FORMAT = Format(
    label="text",
    patterns=("*.txt", "*.md"),
    read="omnimat.formats.text:read",
    recognises="omnimat.formats.text:recognises",
    goes_with_others=True,
)


def read(path: UPath, reading: Reading, start: int, stop: int) -> Iterator[Record | Failure]:
    """Read the text of a file; see ``omnimat.formats.format.Read``.

    What is not UTF-8 is taken to be Latin-1, which the provenance says.
    """
    del reading
    if start <= 0 < stop:
        text, encoding = decoded(whole(path, _MAX_BYTES))
        if not text.strip():
            raise ValueError("the text is empty")
        is_guess = encoding == "latin-1"
        provenance = {"text": "read as Latin-1, since it is not UTF-8"} if is_guess else {}
        yield Record("", {"text": text.strip()}, provenance=provenance)


def recognises(path: UPath) -> bool:
    """Say whether a file holds words, and not numbers such as those of a pattern."""
    try:
        text, _ = decoded(beginning(path, _NUM_BYTES_SEEN))
    except ValueError:
        return True  # it is no text, which reading it says
    num_letters = sum(character.isalpha() for character in text)
    num_digits = sum(character.isdigit() for character in text)
    return num_letters >= num_digits and not is_pattern(path)
