"""Chooses what becomes a property among the named values that a file holds."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

LEFT_OUT = "left_out"
"""Key of the provenance under which values are named that are not properties."""

_MAX_NAMES = 20


def safe_name(name: object) -> str:
    """Make the name of a property: what it may not contain becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9_.\-]+", "_", str(name))


def properties_of(values: Iterable[tuple[Any, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Separate properties from other values.

    Finite numbers, lists of them, truth values and strings are properties. None, NaN and empty
    strings are not known, so they are neither.

    Args:
        values: names and values; of two with one name, the first may be a property.

    Returns:
        The properties by name, and the names of what cannot be one.
    """
    properties: dict[str, Any] = {}
    others: list[str] = []
    for key, value in values:
        name, plain = safe_name(key), _plain(value)
        if _is_unknown(plain):
            continue
        if _is_property(plain) and name not in properties:
            properties[name] = plain
        else:
            others.append(name)
    return properties, others


def note_of(left_out: Iterable[str]) -> dict[str, str]:
    """Return the part of a provenance that names what was left out, if anything was."""
    names = sorted({safe_name(name) for name in left_out})
    if not names:
        return {}
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return {LEFT_OUT: ", ".join(names[:_MAX_NAMES]) + more}


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _is_unknown(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return len(value) == 0 or any(part is None or _is_nan(part) for part in value)
    return value is None or value == "" or _is_nan(value)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _is_property(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_number(part) for part in value)
    return isinstance(value, bool | str) or _is_number(value)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max
