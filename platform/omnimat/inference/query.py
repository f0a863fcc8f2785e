"""What a user asks in Python, and the index that is asked."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import islice
from typing import Any

from omnimat.base.errors import UserError
from omnimat.inference.read import read_all
from omnimat.materials.record import Record
from omnimat.modalities.batch import Quarantined
from omnimat.search.index import Index


def opened(index: Index | str | os.PathLike[str]) -> Index:
    """Return an index, which is opened if it is the path of one.

    Raises:
        UserError: it is no index, or it was damaged or changed.
    """
    return index if isinstance(index, Index) else Index.open(index)


def query_of(one: Any) -> str | Record:
    """Return a query as searches take it: what is no text becomes a record.

    Raises:
        UserError: it is nothing that a model can read, or several materials.
    """
    if isinstance(one, str | os.PathLike):
        return os.fspath(one)
    materials = list(islice(read_all([one]), 2))
    if len(materials) != 1:
        raise UserError(f"query: a table of {len(one)} materials; give one of them")
    (given,) = materials
    if isinstance(given.record, Quarantined):
        raise UserError(f"query: {given.record.reason}")
    return replace(given.record, material_id="query")
