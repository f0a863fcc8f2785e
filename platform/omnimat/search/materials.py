"""What an index says of each material besides its embedding: a table with a row for each.

Its columns are ``name``, ``reduced_formula``, ``split`` and, by the names of the properties,
``known.<property>`` and ``predicted.<property>``. A column holds numbers, texts, or lists of
numbers, and null where nothing is known.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from omnimat.materials.crystals import reduced_formula, symmetry_properties, to_pymatgen
from omnimat.materials.record import Record
from omnimat.materials.values import class_of
from omnimat.modalities.composition import formula_of

NAME, FORMULA, SPLIT = "name", "reduced_formula", "split"
KNOWN, PREDICTED = "known.", "predicted."
FACTS = "facts"
"""Column of a part of an index, with what its records tell."""
SPACE_GROUP, SYSTEM = f"{KNOWN}space_group_number", f"{KNOWN}crystal_system"

_NUMBERS = pa.list_(pa.float64())
_TYPES = (pa.float64(), pa.string(), _NUMBERS)
_TEXTS = (NAME, FORMULA, SPLIT)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some of the materials that are indexed.

    Attributes:
        names: name of each of n materials.
        vectors: (n, d) float32 of unit length; NaN where a material could not be embedded.
        reasons: why it could not be; arbitrary where it could.
        columns: what else is known of each, by the names of columns, None where nothing is.
    """

    names: Sequence[str]
    vectors: NDArray[np.float32]
    reasons: Sequence[str]
    columns: Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Contents:
    """What an index is to hold of N materials.

    Attributes:
        materials: what is known of each, in the order of their names.
        embeddings: (N, d) float32 of unit length.
        left_out: why each other material could not be embedded, by its name.
    """

    materials: pa.Table
    embeddings: NDArray[np.float32]
    left_out: Sequence[tuple[str, str]]

    @classmethod
    def of(cls, chunks: Sequence[Chunk]) -> Self:
        """Put chunks together, and the materials into the order of their names."""
        names = [name for one in chunks for name in one.names]
        reasons = [reason for one in chunks for reason in one.reasons]
        vectors = np.concatenate([one.vectors for one in chunks])
        is_there = np.isfinite(vectors).all(axis=1)
        order = np.argsort(np.array(names, dtype=object), kind="stable")
        kept, lost = order[is_there[order]], order[~is_there[order]]
        columns = {NAME: names} | _joined(chunks)
        return cls(
            materials=table_of({key: [cells[i] for i in kept] for key, cells in columns.items()}),
            embeddings=vectors[kept],
            left_out=[(names[i], reasons[i]) for i in lost],
        )


def facts_of(record: Record) -> dict[str, Any]:
    """Say what a record tells of its material; the symmetry is found if it is not told."""
    known = dict(record.properties)
    if record.structure is not None and "space_group_number" not in known:
        known |= symmetry_properties(to_pymatgen(record.structure))
    return {FORMULA: formula_told(record)} | under(KNOWN, known)


def facts_told(record: Record) -> str:
    """Give the facts of a record as JSON, which ``facts_in`` reads."""
    return json.dumps(facts_of(record), default=lambda value: value.tolist())


def facts_in(cells: Sequence[str]) -> dict[str, list[Any]]:
    """Lay out as columns what ``facts_told`` gave of each material."""
    return rows_as_columns([json.loads(cell) for cell in cells])


def formula_told(record: Record) -> str | None:
    """Give the reduced formula of a material; None where nothing tells it."""
    formula = formula_of(record)
    return None if formula is None else reduced_formula(formula.atomic_numbers, formula.amounts)


def under(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Name columns of properties."""
    return {f"{prefix}{name}": value for name, value in values.items()}


def table_of(columns: Mapping[str, Iterable[Any]]) -> pa.Table:
    """Make the table of columns whose cells are numbers, texts, lists of numbers or None."""
    arrays = {name: _array(name, list(cells)) for name, cells in columns.items()}
    return pa.table(arrays)


def _joined(chunks: Sequence[Chunk]) -> dict[str, list[Any]]:
    """Join the columns of chunks; what a chunk does not speak of is None."""
    keys = dict.fromkeys(key for one in chunks for key in one.columns)
    nothing = {len(one.names): [None] * len(one.names) for one in chunks}
    return {
        key: [cell for one in chunks for cell in one.columns.get(key, nothing[len(one.names)])]
        for key in keys
    }


def rows_as_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Lay rows out as columns; what a row lacks is None."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def check_table(schema: pa.Schema) -> None:
    """Check that a table is one of an index.

    Raises:
        ValueError: a column is missing, stands twice, or holds something else.
    """
    if NAME not in schema.names:
        raise ValueError(f"it has no column {NAME!r}")
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise ValueError(f"it has two columns {name!r}")
        is_own = name in _TEXTS or name.startswith((KNOWN, PREDICTED))
        wanted = (pa.string(),) if name in _TEXTS else _TYPES
        if not is_own or schema.field(name).type not in wanted:
            raise ValueError(f"column {name!r} does not belong into it")


def is_number(column: pd.Series[Any]) -> bool:
    """Say whether a column holds numbers."""
    return column.dtype.kind == "f"


def _array(name: str, cells: Sequence[Any]) -> pa.Array:
    known = [one for one in cells if not _is_unknown(one)]
    if name in _TEXTS or not known:
        kind = pa.string() if name in _TEXTS else pa.float64()
    elif all(_is_number(one) for one in known):
        kind = pa.float64()
    elif all(isinstance(one, list) and all(map(_is_number, one)) for one in known):
        kind = _NUMBERS
    else:
        kind = pa.string()
    as_kind = _text if kind == pa.string() else _plain
    return pa.array([None if _is_unknown(one) else as_kind(one) for one in cells], kind)


def _is_unknown(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float | np.floating) and bool(np.isnan(cell)))


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float | np.number) and not isinstance(cell, bool)


def _plain(cell: Any) -> Any:
    return [float(one) for one in cell] if isinstance(cell, list) else float(cell)


def _text(cell: Any) -> str:
    return json.dumps(cell) if isinstance(cell, list | dict) else class_of(cell)
