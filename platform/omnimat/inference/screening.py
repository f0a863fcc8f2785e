"""Screens an index with a packed model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pandas as pd

from omnimat.inference.model import Model
from omnimat.inference.query import opened, query_of
from omnimat.search.index import Index
from omnimat.search.screen import Criteria, Ranking, screened


def screen(
    model: Model,
    index: Index | str | os.PathLike[str],
    *,
    where: str | None = None,
    near: Any = None,
    modality: str | None = None,
    elements: Sequence[str] = (),
    exclude_elements: Sequence[str] = (),
    stable: float | None = None,
    largest: str | None = None,
    smallest: str | None = None,
    top: int = 50,
) -> pd.DataFrame:
    """Choose materials of an index by what is known and predicted of them.

    Args:
        model: the model that made the index.
        index: an index (``omnimat.index``), or its folder.
        where: comparisons of properties, joined by ``and``, ``or``, ``not`` and brackets:
            ``bulk_modulus_gpa > 200 and crystal_system in ("cubic", "hexagonal")``. A plain name
            is the known value of a material, or else the predicted one; ``known.<property>`` and
            ``predicted.<property>`` are either alone, and ``<property>_low`` and
            ``<property>_high`` the ends of its interval. Materials of which a comparison knows too
            little are left out, with a note.
        near: a query as for ``Model.search``, by whose similarity the materials are ordered.
        modality: modality whose encoder reads ``near``, if it holds more than one.
        elements: symbols of elements that a material must contain.
        exclude_elements: symbols of elements that it must not contain.
        stable: most energy above the convex hull, in eV/atom.
        largest: property by whose value the materials are ordered, the largest first.
        smallest: the same, the smallest first. Without ``near`` and these, they are in the order
            of their names.
        top: how many materials to give.

    Returns:
        A row for each material, with the columns of ``Model.search``; ``similarity`` is there only
        with ``near``. ``attrs["notes"]`` says how many were left out because too little is known.

    Raises:
        UserError: the expression cannot be read, a name or an element is not there, or the index
            was made by another model or damaged.
    """
    criteria = Criteria(where, tuple(elements), tuple(exclude_elements), stable)
    ranking = Ranking(None if near is None else query_of(near), modality, largest, smallest)
    return screened(model.networks.encoders, opened(index), criteria, ranking, top).hits
