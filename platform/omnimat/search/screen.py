"""Chooses materials of an index by what is known and predicted of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pymatgen.core import Element

from omnimat.base.errors import UserError
from omnimat.base.words import suggestion
from omnimat.materials.record import Record
from omnimat.search.conditions import Comparison, Condition, Name, Truth
from omnimat.search.encoders import Encoders
from omnimat.search.expression import parse
from omnimat.search.hits import hits_of
from omnimat.search.index import Index
from omnimat.search.materials import FORMULA, KNOWN, NAME, PREDICTED, is_number
from omnimat.search.nearest import check_top, nearest
from omnimat.search.search import embed_queries

Rows = NDArray[np.int64]

ABOVE_HULL = "energy_above_hull_ev_per_atom"
_MOST_NEAR = 5  # names in a message


@dataclass(frozen=True, slots=True)
class Criteria:
    """What materials must be like.

    Attributes:
        where: an expression over their properties; see ``search.expression``.
        elements: symbols of elements that they all contain.
        exclude_elements: symbols of elements that none of them contains.
        stable_ev_per_atom: the most energy above the convex hull that they have.
    """

    where: str | None = None
    elements: Sequence[str] = ()
    exclude_elements: Sequence[str] = ()
    stable_ev_per_atom: float | None = None


@dataclass(frozen=True, slots=True)
class Ranking:
    """What materials come first: those nearest to a query, or of the largest or smallest value.

    Attributes:
        near: a query, as ``embed_queries`` takes it.
        modality: modality whose encoder reads it; None for its own.
        largest: a property.
        smallest: a property.
    """

    near: str | Record | None = None
    modality: str | None = None
    largest: str | None = None
    smallest: str | None = None

    def __post_init__(self) -> None:
        if sum(one is not None for one in (self.near, self.largest, self.smallest)) > 1:
            raise UserError("near, largest, smallest: give one of them, since there is one order")


@dataclass(frozen=True, slots=True)
class Screened:
    """What a screen found.

    Attributes:
        hits: rows of ``hits_of``, the best first.
        num_chosen: how many materials meet the criteria.
        num_materials: how many the index holds.
        notes: whole sentences on what is not known.
        columns: columns of ``hits`` by which the materials were chosen and ordered.
    """

    hits: pd.DataFrame
    num_chosen: int
    num_materials: int
    notes: list[str]
    columns: list[str]


def screened(
    encoders: Encoders, index: Index, criteria: Criteria, ranking: Ranking, top: int
) -> Screened:
    """Choose and order materials.

    Args:
        encoders: those of the model that made the index.
        index: the index.
        criteria: what the materials must be like.
        ranking: which come first; without any, they are in the order of their names.
        top: how many to give.

    Raises:
        UserError: an expression or the query cannot be read, a name or an element is not there, or
            the index was made by another model; or ``top`` is less than 1.
    """
    check_top(top)
    encoders.check_made(index.card.origin, index.place)
    columns = _Columns(index.materials)
    rows, notes = _chosen(columns, criteria)
    num_chosen, similarities = len(rows), None
    if ranking.near is not None:
        (query,) = embed_queries(encoders, [ranking.near], ranking.modality)
        (best,), (similarities,) = nearest(query.vector[None], index.embeddings, rows, top)
        notes = query.notes + notes
    else:
        rows, note = _ordered(columns, rows, ranking)
        best, notes = rows[:top], notes + note
    hits = hits_of(index, best, similarities)
    hits.attrs["notes"] = notes
    used = [name for name in columns.used if name in hits]
    return Screened(hits, num_chosen, len(index), notes, used)


def _chosen(columns: _Columns, criteria: Criteria) -> tuple[Rows, list[str]]:
    """Give the rows of the materials that meet all criteria, in order."""
    chosen = np.ones(columns.num_rows, np.bool_)
    notes = []
    for key, truth in _truths(columns, criteria):
        if unknown := int((~(truth.holds | truth.fails)).sum()):
            notes.append(f"{key} leaves out those of which too little is known: {unknown}.")
        chosen &= truth.holds
    return np.flatnonzero(chosen), notes


def _truths(columns: _Columns, criteria: Criteria) -> list[tuple[str, Truth]]:
    found: list[tuple[str, Truth]] = []
    if criteria.where is not None:
        found.append(("where", parse(criteria.where).truth(columns.column)))
    if criteria.stable_ev_per_atom is not None:
        found.append(("stable", _stability(criteria.stable_ev_per_atom).truth(columns.column)))
    if criteria.elements:
        each = [columns.contains("elements", one) for one in criteria.elements]
        holds = np.logical_and.reduce([one.holds for one in each])
        fails = np.logical_or.reduce([one.fails for one in each])
        found.append(("elements", Truth(holds, fails)))
    if criteria.exclude_elements:
        each = [columns.contains("exclude_elements", one) for one in criteria.exclude_elements]
        holds = np.logical_and.reduce([one.fails for one in each])
        fails = np.logical_or.reduce([one.holds for one in each])
        found.append(("exclude_elements", Truth(holds, fails)))
    return found


def _stability(ev_per_atom: float) -> Condition:
    if not ev_per_atom >= 0:
        raise UserError(f"stable: {ev_per_atom:g} eV/atom above the hull is less than nothing")
    return Comparison(Name(ABOVE_HULL), "<=", float(ev_per_atom))


def _ordered(columns: _Columns, rows: Rows, ranking: Ranking) -> tuple[Rows, list[str]]:
    """Order rows by a property, if one is asked for; what lacks it is left out with a note."""
    name = ranking.largest or ranking.smallest
    if name is None:
        return rows, []
    key = "largest" if ranking.largest else "smallest"
    column = columns.column(name, key)
    if not is_number(column):
        raise UserError(f"{key}: {name!r} is no number")
    values = column.to_numpy()[rows]
    known = rows[~np.isnan(values)]
    values = values[~np.isnan(values)]
    order = np.argsort(-values if ranking.largest else values, kind="stable")
    lost = len(rows) - len(known)
    note = [f"{key} leaves out those of which {name} is not known: {lost}."] if lost else []
    return known[order], note


class _Columns:
    """The columns of an index by the names that people use; keeps in mind which were used."""

    def __init__(self, materials: pd.DataFrame) -> None:
        self._materials = materials
        self.num_rows = len(materials)
        self.used: list[str] = []

    def column(self, name: str, key: str = "where") -> pd.Series[Any]:
        """Find a column: a plain name is what is known or, where nothing is, what is predicted."""
        names = [name] if name in self._materials else [f"{KNOWN}{name}", f"{PREDICTED}{name}"]
        there = [one for one in names if one in self._materials]
        if not there:
            raise self._unknown(name, key)
        self.used += [one for one in there if one not in self.used]
        known = [one for one in there if self._materials[one].notna().any()]
        found = [self._materials[one] for one in known or there[:1]]
        if len(found) == 2 and found[0].dtype != found[1].dtype:
            raise UserError(
                f"{key}: what is known of {name!r} and what is predicted is of two kinds; write "
                f"{KNOWN}{name} or {PREDICTED}{name}"
            )
        column = found[0].where(found[0].notna(), found[-1])
        if not is_number(column) and column.map(lambda cell: isinstance(cell, np.ndarray)).any():
            raise UserError(f"{key}: {name!r} is several numbers, which cannot be compared")
        return column

    def contains(self, key: str, symbol: str) -> Truth:
        """Say which materials contain an element."""
        symbols = [element.symbol for element in Element]
        if symbol not in symbols:
            raise UserError(
                f"{key}: {symbol!r} is no element{suggestion(symbol.capitalize(), symbols)}"
            )
        if FORMULA not in self._materials:
            nothing = np.zeros(self.num_rows, np.bool_)
            return Truth(nothing, nothing)
        formulas = self._materials[FORMULA].astype(object)
        holds = formulas.str.contains(f"{symbol}(?![a-z])", na=False).to_numpy(dtype=np.bool_)
        return Truth(holds, formulas.notna().to_numpy() & ~holds)

    def _unknown(self, name: str, key: str) -> UserError:
        columns = [one for one in map(str, self._materials) if one != NAME]
        plain = sorted({one.removeprefix(KNOWN).removeprefix(PREDICTED) for one in columns})
        near = [repr(one) for one in plain if name.lower() in one.lower()][:_MOST_NEAR]
        hint = f"; did you mean {' or '.join(near)}?" if near else suggestion(name, plain)
        return UserError(f"{key}: the index knows no {name!r}{hint}")
