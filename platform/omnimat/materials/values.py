"""What a value that a file holds says of a material: a number, a class, nothing, or nothing usable.

Labels, tables and files of crystals all ask here, so that a value says the same wherever it stands.
"""

from __future__ import annotations

import math
import re
import sys
from decimal import Decimal
from typing import Any, Literal

import numpy as np

from omnimat.base.characters import hidden_in

LabelKind = Literal["number", "class"]

_UNKNOWN = ("", "nan", "NaN")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
_WHOLE = re.compile(r"([+-]?\d+)\.0*")
_SHOWN_CHARACTERS = 40


def safe_name(name: object) -> str:
    """Make the name of a property: what it may not contain becomes an underscore."""
    return re.sub(r"[^A-Za-z0-9_.\-]+", "_", str(name))


def known(value: Any) -> Any:
    """Return a value without what surrounds it: blanks, NumPy, a decimal's digits.

    Returns:
        The value, or None where it is not known: it is None, NaN, or an empty text or list.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, str):
        value = value.strip()
        return None if value in _UNKNOWN else value
    if isinstance(value, list | tuple):
        return list(value) or None
    return None if isinstance(value, float) and math.isnan(value) else value


def property_of(value: Any, kind: LabelKind | None = None) -> Any:
    """Return what a value is as a property.

    Args:
        value: what a file holds.
        kind: what it must be, one number or one class. None takes it as it is: a number, a text or
            a truth value, which are classes, or a list of numbers.

    Returns:
        A number, a class, a list of numbers, or None where it is not known.

    Raises:
        ValueError: it is nothing of the kind, not finite, or holds a hidden character; the reason
            shows it.
    """
    value = known(value)
    if value is None:
        return None
    if kind is None and isinstance(value, list):
        return [number_of(one) for one in value]
    if isinstance(value, list | dict | bytes):
        raise ValueError(f"{shown(value)} is not a single value")
    if kind == "class" or (kind is None and isinstance(value, bool | str)):
        label = class_of(value)
        if found := hidden_in(label):  # no row of a leaderboard may hold it
            raise ValueError(f"{shown(value)} holds the hidden character {found}")
        return label
    return number_of(value)


def number_of(value: Any) -> float | int:
    """Return the finite number that a value or a text is.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool):
        raise ValueError(f"{shown(value)} is a boolean and not a number")
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if not isinstance(value, int | float):
        raise ValueError(f"{shown(value)} is not a number")
    if not abs(value) <= sys.float_info.max:
        raise ValueError(f"{shown(value)} is not finite")
    return value


def class_of(value: Any) -> str:
    """Return the class that a known value stands for.

    Truth values become ``true`` and ``false``, and whole numbers their digits, so that 3 and 3.0
    are the same class.
    """
    text = str(value)
    if text.lower() in {"true", "false"}:
        return text.lower()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def shown(value: Any) -> str:
    """Show a value in a message, shortened."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
