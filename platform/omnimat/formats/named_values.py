"""Chooses what becomes a property among the named values that a file holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from omnimat.materials.values import property_of, safe_name

LEFT_OUT = "left_out"
"""Key of the provenance under which values are named that are not properties."""

_MAX_NAMES = 20


def properties_of(values: Iterable[tuple[Any, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Separate properties from other values; those that are not known are neither.

    Args:
        values: names and values; of two with one name, the first may be a property.

    Returns:
        The properties by name, and the names of what cannot be one.
    """
    properties: dict[str, Any] = {}
    others: list[str] = []
    for key, value in values:
        name = safe_name(key)
        try:
            found = property_of(value)
        except ValueError:
            others.append(name)
            continue
        if found is None:
            continue
        if name in properties:
            others.append(name)
        else:
            properties[name] = found
    return properties, others


def note_of(left_out: Iterable[str]) -> dict[str, str]:
    """Return the part of a provenance that names what was left out, if anything was."""
    names = sorted({safe_name(name) for name in left_out})
    if not names:
        return {}
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return {LEFT_OUT: ", ".join(names[:_MAX_NAMES]) + more}
