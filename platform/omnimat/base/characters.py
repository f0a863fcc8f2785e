"""Characters that nobody sees, or that change the order in which others are shown.

A name that holds one passes for another name, and in a terminal it may move the cursor or hide what
was printed before. They are refused where text comes in, and escaped where it is shown.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

LAYOUT = "\n\t"
"""Control characters that belong into text of several lines, and into no name."""

# Controls, formats (zero-width, bidirectional, tags), lone surrogates, line and paragraph breaks.
_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Characters of other categories that Unicode calls ignorable, and a blank of Braille.
_IGNORABLE = (
    range(0x034F, 0x0350),
    range(0x115F, 0x1161),
    range(0x17B4, 0x17B6),
    range(0x180B, 0x1810),
    range(0x2065, 0x2066),
    range(0x2800, 0x2801),
    range(0x3164, 0x3165),
    range(0xFE00, 0xFE10),
    range(0xFFA0, 0xFFA1),
    range(0xFFF0, 0xFFF9),
    range(0xE0000, 0xE1000),
)


def hidden_in(value: Any, allowed: str = LAYOUT) -> str | None:
    """Name the first hidden character of a text, or of any text in a JSON-like value.

    Args:
        value: a text, or mappings and sequences that may hold texts; a mapping's keys count.
        allowed: control characters that do not count.

    Returns:
        ``U+202E RIGHT-TO-LEFT OVERRIDE``, or None where there is none.
    """
    for text in _texts(value):
        if found := next((one for one in text if _is_hidden(one, allowed)), None):
            return f"U+{ord(found):04X} {unicodedata.name(found, '')}".strip()
    return None


def escaped(text: str, allowed: str = LAYOUT) -> str:
    r"""Write each hidden character as its escape, such as ``\x1b`` or ``\u202e``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        one.encode("unicode_escape").decode() if _is_hidden(one, allowed) else one for one in text
    )


def _is_hidden(character: str, allowed: str) -> bool:
    if character.isascii():
        return not character.isprintable() and character not in allowed
    return unicodedata.category(character) in _CATEGORIES or any(
        ord(character) in block for block in _IGNORABLE
    )


def _texts(value: Any) -> Iterator[str]:
    """Give the texts of a value that need a closer look; plain ASCII holds nothing hidden."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if not (one.isascii() and one.isprintable()):
                yield one
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one
