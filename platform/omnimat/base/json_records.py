"""Tables as JSON, in which every number keeps all its digits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the rows of a table as JSON values.

    ``DataFrame.to_json`` writes at most 15 digits after the point, which makes small numbers 0.

    Returns:
        An object for each row, whose numbers read back as the same doubles. What is not known is
        None, and so is infinity, which JSON does not have.
    """
    rows = table.astype(object).to_dict("records")
    return [{str(name): _json_value(cell) for name, cell in row.items()} for row in rows]


def _json_value(cell: Any) -> Any:
    if isinstance(cell, np.ndarray | np.generic):
        cell = cell.tolist()
    if isinstance(cell, list):
        return [_json_value(one) for one in cell]
    is_lost = cell is pd.NA or (isinstance(cell, float) and not math.isfinite(cell))
    return None if is_lost else cell
