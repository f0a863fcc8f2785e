"""Materials that were found, as a table: what is known and predicted of each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omnimat.materials.crystals import space_group_symbol
from omnimat.search.index import Index
from omnimat.search.materials import FORMULA, KNOWN, NAME, PREDICTED, SPACE_GROUP, SYSTEM

RANK, SYMBOL, NUMBER, CRYSTAL_SYSTEM, SIMILARITY = (
    "rank",
    "space_group",
    "space_group_number",
    "crystal_system",
    "similarity",
)
_GROUPS = range(1, 231)


def hits_of(
    index: Index, rows: NDArray[np.int64], similarities: NDArray[np.float32] | None = None
) -> pd.DataFrame:
    """Describe materials of an index.

    Args:
        index: the index.
        rows: (k,) which materials, the best first.
        similarities: (k,) cosine of the embedding of each with that of a query, from -1 to 1.

    Returns:
        A row for each: ``rank`` from 1, ``name``, ``reduced_formula``, ``space_group`` (its
        Hermann-Mauguin symbol), ``space_group_number``, ``crystal_system``, ``similarity`` if there
        was a query, and all other ``known.<property>`` and ``predicted.<property>``. What is not
        known is None or NaN.
    """
    found = index.materials.take(rows).reset_index(drop=True)
    numbers = [_group(one) for one in _column(found, SPACE_GROUP)]
    first: dict[str, Any] = {
        RANK: np.arange(1, len(rows) + 1),
        NAME: found[NAME],
        FORMULA: _column(found, FORMULA),
        SYMBOL: [None if one is None else space_group_symbol(one) for one in numbers],
        NUMBER: pd.array(numbers, "Int64"),
        CRYSTAL_SYSTEM: _column(found, SYSTEM),
    }
    if similarities is not None:
        first[SIMILARITY] = similarities.astype(np.float64).round(6)
    told = {name: found[name] for prefix in (KNOWN, PREDICTED) for name in _told(found, prefix)}
    return pd.DataFrame(first | told)


def _told(found: pd.DataFrame, prefix: str) -> list[str]:
    names = [name for name in map(str, found) if name.startswith(prefix)]
    return [name for name in names if name not in {SPACE_GROUP, SYSTEM}]


def _column(found: pd.DataFrame, name: str) -> list[Any]:
    if name not in found:
        return [None] * len(found)
    return [None if one is None or one != one else one for one in found[name]]


def _group(number: Any) -> int | None:
    """Return the number of a space group, unless a table says what is none."""
    is_one = isinstance(number, float) and number.is_integer() and int(number) in _GROUPS
    return int(number) if is_one else None
