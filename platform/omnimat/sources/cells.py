"""What a cell of a table of labels says: a number, a class, nothing, or nothing that is usable."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

LabelKind = Literal["number", "class"]

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_WHOLE = re.compile(r"([+-]?\d+)\.0*")
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_UNKNOWN = ("", "nan", "NaN")


@dataclass(frozen=True, slots=True)
class Unusable:
    """A cell that is no label.

    Attributes:
        cell: the cell as the table has it.
        reason: why it is none.
    """

    cell: str
    reason: str


def read_cell(cell: Any, kind: LabelKind) -> float | str | Unusable | None:
    """Return the label that a cell holds, or None where it is empty or NaN.

    A number is finite. A class is a string: booleans become ``true`` and ``false``, and whole
    numbers their digits, so that 3 and 3.0 are the same class.
    """
    if isinstance(cell, str):
        cell = cell.strip()
        if cell in _UNKNOWN:
            return None
    if cell is None or (isinstance(cell, float | Decimal) and math.isnan(cell)):
        return None
    if isinstance(cell, list | tuple | dict | bytes):
        return Unusable(str(cell), "is not a single value")
    return _number(cell) if kind == "number" else class_of(cell)


def class_of(value: Any) -> str:
    """Return the class that a known value stands for."""
    text = str(value)
    if text.lower() in {"true", "false"}:
        return text.lower()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def likely_kind(cells: Iterable[Any]) -> LabelKind:
    """Return what a column holds: numbers if most of its known cells are numbers."""
    read = [read_cell(cell, "number") for cell in cells]
    known = [one for one in read if one is not None]
    num_numbers = sum(isinstance(one, float) for one in known)
    return "class" if 2 * num_numbers < len(known) else "number"


def _number(cell: Any) -> float | Unusable:
    text = str(cell)
    if isinstance(cell, bool):
        return Unusable(text, "is a boolean and not a number")
    if isinstance(cell, str) and not (_NUMBER.fullmatch(cell) or _INFINITE.fullmatch(cell)):
        return Unusable(text, "is not a number")
    try:
        number = float(cell)
    except (TypeError, ValueError, OverflowError):
        return Unusable(text, "is not a number")
    return number if math.isfinite(number) else Unusable(text, "is not finite")
