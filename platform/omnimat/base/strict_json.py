"""JSON of strangers, in which every key stands once."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from omnimat.base.words import shortened

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
    counts = Counter(key for key, _ in pairs)
    twice = next(key for key, count in counts.items() if count > 1)
    values = [value for key, value in pairs if key == twice][:2]
    told = " and as ".join(map(_shown, values))
    raise ValueError(f"key {shortened(twice)!r} stands twice in one object, as {told}; remove one")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
