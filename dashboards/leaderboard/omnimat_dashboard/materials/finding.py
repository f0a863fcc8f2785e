"""Finds materials of a data set by the beginning of an address: an id or a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from omnimat.base.json_records import as_records

MAX_FOUND = 100
MAX_TEXT = 128
_COLUMNS = ["material_id", "reduced_formula", "num_atoms", "split"]


@dataclass(frozen=True, slots=True)
class FoundMaterials:
    """Materials of a data set.

    Attributes:
        rows: id, formula, number of atoms and split of the first ``MAX_FOUND``.
        num_found: how many there are.
    """

    rows: Sequence[Mapping[str, Any]]
    num_found: int


def found_in(index: pd.DataFrame, text: str) -> FoundMaterials:
    """Find the material of an id, or those of a reduced formula; without any, give them all."""
    wanted = text[:MAX_TEXT].strip()
    is_it = (index["material_id"] == wanted) | (index["reduced_formula"] == wanted)
    chosen = index[is_it] if wanted else index
    rows = chosen[_COLUMNS].head(MAX_FOUND).astype(object)
    return FoundMaterials(as_records(rows.where(rows.notna(), "")), len(chosen))
