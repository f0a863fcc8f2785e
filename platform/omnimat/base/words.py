"""Words for messages."""

from __future__ import annotations

import difflib
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
