"""Words for messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection


def suggestion(name: str, known: Collection[str]) -> str:
    """Name the known word that was probably meant, or else all of them; goes on a sentence."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known here: {', '.join(sorted(known))}"


def shortened(text: str, max_characters: int = 80) -> str:
    """Put a text of any length on one line of a message."""
    line = " ".join(text.split())
    return line if len(line) <= max_characters else f"{line[:max_characters]}..."


def natural(text: str) -> list[tuple[int, str]]:
    """Return a sort key that orders numbers in a text as numbers: ``top-5`` before ``top-10``."""
    parts = re.split(r"(\d+)", text)
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]
