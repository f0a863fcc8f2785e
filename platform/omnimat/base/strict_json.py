"""JSON of strangers, in which every key stands once."""

from __future__ import annotations

import json
from typing import Any

_SHOWN = 40  # characters of a value


def check(text: str | bytes) -> None:
    """Refuse what is no JSON, or says one thing twice.

    Of two equal keys in one object most parsers take the last, others the first, so that people who
    look at a file and the program that reads it may see different things.

    Raises:
        ValueError: it is no JSON, or a key stands twice in one object.
    """
    try:
        json.loads(text, object_pairs_hook=_without_duplicates)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    known = dict(pairs)
    if len(known) == len(pairs):
        return known
    twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
    values = " and as ".join(_shown(value) for key, value in pairs if key == twice)
    raise ValueError(f"key {twice!r} stands twice in one object, as {values}; remove one")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
