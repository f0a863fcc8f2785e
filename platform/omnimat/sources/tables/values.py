"""Values as they stand in a table, turned into numbers, arrays and texts, or refused with a reason.

A value is whatever the file holds: a number, a list, bytes or a text. A CSV file has only texts, so
that lists of numbers are read from texts too, in whatever brackets and with whatever separators.
Numbers in texts are read as pandas reads them.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Kind = Literal["number", "integer", "text", "list"]

_SEPARATORS = str.maketrans("[](){},;'\"", " " * 10)
_SHOWN_CHARACTERS = 40


def words(text: str) -> list[str]:
    """Split a list that was written as a text, such as ``[1, 2]``, ``1 2`` or ``['Na', 'Cl']``."""
    return text.translate(_SEPARATORS).split()


def number(text: str) -> float | int:
    """Read a number.

    Raises:
        ValueError: the text is no number.
    """
    try:
        found: float | int = pd.to_numeric(np.array([text], dtype=object))[0].item()
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{shown(text)} is no number") from error
    return found


def is_number(value: Any) -> bool:
    """Say whether a value is a number, or a text that is one."""
    if isinstance(value, str):
        try:
            number(value)
        except ValueError:
            return False
        return True
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def is_list(value: Any) -> bool:
    """Say whether a value is a list, or a text that looks like one."""
    if isinstance(value, str):
        return value.startswith("[") and value.endswith("]")
    return isinstance(value, list)


def shown(value: Any) -> str:
    """Show a value in a message, shortened."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


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
        value: what stands in the table, which is not null.
        kind: what the property is; None for whatever the table holds.

    Returns:
        A number, a text, a truth value or a list of these, as JSON can hold it.

    Raises:
        ValueError: it is of another kind, or not finite.
    """
    if kind == "text":
        return value if isinstance(value, str) else str(value)
    if kind == "list" and isinstance(value, str):
        value = _list(value)
    if kind in {"number", "integer"}:
        value = _number(value)
    if kind == "integer":
        return _integer(value)
    return _json_value(value)


def _number(value: Any) -> float | int:
    if not is_number(value):
        raise ValueError(f"{shown(value)} is no number")
    return number(value) if isinstance(value, str) else value


def _integer(value: float) -> int:
    if not (math.isfinite(value) and float(value).is_integer()):
        raise ValueError(f"{value} is no integer")
    return int(value)


def _list(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"{shown(text)} is no list") from error


def _json_value(value: Any) -> Any:
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not finite")
    if isinstance(value, list | tuple):
        return [_json_value(one) for one in value]
    if not isinstance(value, str | int | float):
        raise ValueError(f"{shown(value)} is no number, text or list of them")
    return value
