"""Parts that a record may be given, or that follow from its structure."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from omnimat.materials.record import Record

Origin = Literal["any", "given", "derived"]


def columns_of(origin: Origin, part: str) -> tuple[str, ...]:
    """Give the columns of the record index that say where there is a part of this origin."""
    given, derived = (f"has_{part}",), ("has_structure",)
    return {"any": given + derived, "given": given, "derived": derived}[origin]


def of_origin(record: Record, origin: Origin, part: str) -> Record:
    """Give the record as if it had only what the part may come from."""
    if origin == "any":
        return record
    hidden = "structure" if origin == "given" else part
    return replace(record, parts={k: v for k, v in record.parts.items() if k != hidden})
