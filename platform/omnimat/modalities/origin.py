"""Parts that are given with a record or derived from its structure."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from omnimat.materials.record import Record

Origin = Literal["any", "given", "derived"]


def columns_of(origin: Origin, part: str) -> tuple[str, ...]:
    """Return the columns of the record index that show where there is a part of this origin."""
    given, derived = (f"has_{part}",), ("has_structure",)
    return {"any": given + derived, "given": given, "derived": derived}[origin]


def of_origin(record: Record, origin: Origin, part: str) -> Record:
    """Return the record with only those parts from which the part may come."""
    if origin == "any":
        return record
    hidden = "structure" if origin == "given" else part
    return replace(record, parts={k: v for k, v in record.parts.items() if k != hidden})
