"""Cells of a table of labels: labels, cells that are empty, and cells that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from omnimat.materials.values import LabelKind, property_of


@dataclass(frozen=True, slots=True)
class Unusable:
    """A cell that is no label.

    Attributes:
        reason: why it is none; it shows the cell.
    """

    reason: str


Cell = float | str | Unusable | None
"""The label that a cell holds; None where it holds none."""


def read_cell(cell: Any, kind: LabelKind) -> Cell:
    """Return the label that a cell holds: a finite number, or a class."""
    try:
        value = property_of(cell, kind)
    except ValueError as error:
        return Unusable(str(error))
    if value is None or kind == "class":
        label: str | None = value
        return label
    return float(value)


def likely_kind(cells: Iterable[Any]) -> LabelKind:
    """Return what a column holds: numbers if most of its known cells are numbers."""
    read = [read_cell(cell, "number") for cell in cells]
    known = [one for one in read if one is not None]
    num_numbers = sum(isinstance(one, float) for one in known)
    return "class" if 2 * num_numbers < len(known) else "number"
