"""Values as they stand in a table, turned into numbers, arrays and texts, or refused with a reason.

A value is whatever the file holds: a number, a list, bytes or a text. A CSV file has only texts, so
that lists of numbers are read from texts too, in whatever brackets and with whatever separators.
Numbers in texts are read as pandas reads them.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omnimat.materials.values import LabelKind, known, property_of, shown

Kind = Literal["number", "integer", "text", "list"]

_SEPARATORS = str.maketrans("[](){},;'\"", " " * 10)
_OF_COLUMN: Mapping[Kind | None, LabelKind] = {
    "text": "class",
    "number": "number",
    "integer": "number",
}


def words(text: str) -> list[str]:
    """Split a list that was written as a text, such as ``[1, 2]``, ``1 2`` or ``['Na', 'Cl']``."""
    return text.translate(_SEPARATORS).split()


def number(text: str) -> float | int:
    """Read a number.

    Raises:
        ValueError: the text is not a number.
    """
    try:
        found: float | int = pd.to_numeric(np.array([text], dtype=object))[0].item()
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{shown(text)} is not a number") from error
    return found


def is_list(value: Any) -> bool:
    """Say whether a value is a list, or a text that looks like one."""
    if isinstance(value, str):
        return value.startswith("[") and value.endswith("]")
    return isinstance(value, list)


def numbers(value: Any, what: str) -> NDArray[np.float64]:
    """Read an array of finite numbers.

    Args:
        value: a number, a flat or nested list, or a text.
        what: what it is, with which the message begins.

    Returns:
        The array in the shape in which it is nested; from a text it is flat.

    Raises:
        ValueError: it is null, no array of numbers, or one of the numbers is not finite.
    """
    if value is None:
        raise ValueError(f"{what}: null")
    try:
        if isinstance(value, str):
            value = pd.to_numeric(np.array(words(value), dtype=object))
        found = np.array(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{what}: {shown(value)} is no array of numbers") from error
    if not np.isfinite(found).all():
        raise ValueError(f"{what}: holds a null, NaN or infinity")
    return found


def joined(values: Sequence[Any], what: str, count: int) -> NDArray[np.float64]:
    """Read numbers from one or several columns and require how many they are together.

    Returns:
        The numbers, shape (count,).

    Raises:
        ValueError: one of the values is no array of finite numbers, or there are more or fewer.
    """
    if all(isinstance(value, int | float) for value in values):
        found = numbers(values, what)
    else:
        found = np.concatenate([numbers(value, what).ravel() for value in values])
    if found.size != count:
        raise ValueError(f"{what}: {found.size} numbers instead of {count}")
    return found


def property_value(value: Any, kind: Kind | None) -> Any:
    """Read the value of a property.

    Args:
        value: what stands in the table.
        kind: what the property is; None for whatever the table holds.

    Returns:
        A number, a class, a list of numbers or of texts, or None where it is not known.

    Raises:
        ValueError: it is of another kind, or not finite.
    """
    value = known(value)
    if isinstance(value, str) and kind in {"number", "integer"}:
        value = number(value)
    elif isinstance(value, str) and kind == "list":
        value = _list(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    found = property_of(value, _OF_COLUMN.get(kind))
    return _integer(found) if kind == "integer" and found is not None else found


def _integer(value: float) -> int:
    if not float(value).is_integer():
        raise ValueError(f"{value} is not an integer")
    return int(value)


def _list(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"{shown(text)} is not a list") from error
