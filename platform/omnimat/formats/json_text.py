"""Parses JSON that anyone may have written; numbers that are not finite are told from others."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson


def parsed(data: bytes) -> tuple[Any, bool]:
    """Parse a JSON value.

    Returns:
        The value, and whether it may hold NaN or infinity, which JSON does not know but many
        programs write.

    Raises:
        ValueError: it is not JSON, even so.
    """
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return orjson.loads(data), False
    except ValueError:
        pass  # Python's parser is slower, but it reads NaN
    try:
        return json.loads(data), True
    except RecursionError as error:
        raise ValueError("not JSON: it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from error


def check_finite(value: Any) -> None:
    """Check every number of a JSON value.

    Raises:
        ValueError: one is NaN or infinite.
    """
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, float) and not math.isfinite(one):
            raise ValueError(f"not finite: the entry holds the number {one}")
