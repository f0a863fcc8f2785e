"""The values of a hit as texts, the same on a terminal and on a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import pandas as pd

from omnimat.search.hits import NUMBER, SIMILARITY, SYMBOL

Hit: TypeAlias = "Mapping[str, Any] | pd.Series[Any]"
"""A row of ``hits_of``: a ``Series``, or its cells by name."""


def cell(value: Any) -> str:
    """Write a value, a number with four digits; a dash where nothing is known."""
    if value is None or value is pd.NA or value != value:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def similarity(hit: Hit) -> str:
    """Write the cosine of a hit's embedding with that of the query."""
    return f"{hit[SIMILARITY]:.4f}"


def group(hit: Hit) -> str | None:
    """Write a space group as its symbol and number, if it is known."""
    return f"{hit[SYMBOL]} ({hit[NUMBER]})" if hit[SYMBOL] else None


def with_interval(hit: Hit, name: str) -> str:
    """Write a value and, where there are any, the ends of its interval."""
    ends = [cell(hit[end]) for end in (f"{name}_low", f"{name}_high") if end in hit]
    interval = f" [{', '.join(ends)}]" if ends and "-" not in ends else ""
    return f"{cell(hit[name])}{interval}"
