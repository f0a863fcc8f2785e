"""Tables of materials that a user gives a model: files and data frames.

What is no part of a material is known of it: a column of numbers, or of classes, is a property.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import pandas as pd
from ase import Atoms
from pydantic import ValidationError
from pymatgen.core import IStructure
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.settings import first_mistake
from omnimat.formats.crystals import structure_of
from omnimat.formats.format import format_of
from omnimat.materials.record import Record
from omnimat.sources.tables.columns import PropertyColumn
from omnimat.sources.tables.files import rows_of
from omnimat.sources.tables.mapping import TableMapping
from omnimat.sources.tables.parts import properties_from
from omnimat.sources.tables.records import other_parts
from omnimat.sources.tables.structures import Row, structure_from
from omnimat.sources.tables.told import by_name, told_columns
from omnimat.sources.tables.values import Kind

Materials = Iterator[tuple[str, Any]]
"""The name of each row, and a record, an object of another library, or what is wrong with it."""

_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet", ".pq")
_LOOKED_AT_ROWS = 1000


def is_table(file: UPath, columns: Mapping[str, Any] | None) -> bool:
    """Say whether a file is a table with a material in each row.

    Raises:
        UserError: it is a table that cannot be read, and of no other format.
    """
    if not file.name.lower().endswith(_ENDINGS):
        return False
    try:
        return columns is not None or told_columns(_first_cells(file)).holds_materials
    except UserError:
        if format_of(file) is None:
            raise
        return False


def rows_in_file(file: UPath, columns: Mapping[str, Any] | None) -> Materials:
    """Read the materials of a table.

    Raises:
        UserError: ``columns`` are wrong, or the table cannot be read.
    """
    mapping = told_columns(_first_cells(file)).mapping() if columns is None else mapping_of(columns)
    rows = rows_of(file)
    _check(mapping, rows.columns)
    wanted = {column for _, column in mapping.columns()}
    kinds = rows.kinds if mapping.properties else {}
    for number, row in enumerate(rows.read(0, rows.count(), wanted), 1):
        if isinstance(row, ValueError):
            yield str(number), row
        else:
            yield _named(row, mapping, str(number)), _material(row, mapping, rows.metadata, kinds)


def rows_in_frame(frame: pd.DataFrame, columns: Mapping[str, Any] | None) -> Materials:
    """Read the materials of a data frame; without an id, they go by its index.

    A column of crystals of other libraries needs no key. Beside it ``id`` and ``properties`` may
    stand, or one of them.

    Raises:
        UserError: ``columns`` are wrong, no column holds a material, or two would be one label.
    """
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise UserError(f"the table has two columns {twice!r}; rename one")
    frame = frame.astype(object).where(frame.notna(), None)
    crystals = _column_of_crystals(frame) if _may_stand_beside(columns) else None
    if crystals is not None:
        yield from _crystals_in(frame, crystals, columns)
        return
    mapping = _of_frame(frame) if columns is None else mapping_of(columns)
    _check(mapping, tuple(frame.columns))
    rows = cast(list[Row], frame.to_dict("records"))
    for label, row in zip(frame.index, rows, strict=True):
        yield _named(row, mapping, f"#{label}"), _material(row, mapping, {}, {})


def _crystals_in(frame: pd.DataFrame, column: str, columns: Mapping[str, Any] | None) -> Materials:
    """Read a column of crystals of other libraries."""
    ids, properties = _beside_crystals(frame.drop(columns=column), columns)
    for label, row in zip(frame.index, cast(list[Row], frame.to_dict("records")), strict=True):
        name = None if ids is None else row[ids]
        yield f"#{label}" if name is None else str(name), _crystal(row[column], row, properties)


def _beside_crystals(
    others: pd.DataFrame, columns: Mapping[str, Any] | None
) -> tuple[str | None, Mapping[str, PropertyColumn]]:
    """Give the column of ids, and those of properties, that stand beside crystals."""
    if columns is None:
        told = told_columns(_cells(others))
        return told.id, {name: one.as_property() for name, one in by_name(told.labels).items()}
    properties: Mapping[str, PropertyColumn] = {}
    if not _is_id(columns):
        properties = mapping_of(columns).properties
    named = {"id": columns["id"]} if "id" in columns else {}
    named |= {f"properties.{name}": one.column for name, one in properties.items()}
    for key, name in named.items():
        if name not in others:
            raise _no_column(key, name, others.columns)
    return columns.get("id"), properties


def _may_stand_beside(columns: Mapping[str, Any] | None) -> bool:
    """Say whether what a user names may stand beside a column of crystals."""
    return columns is None or columns.keys() <= {"id", "properties"}


def _crystal(one: Any, row: Row, properties: Mapping[str, PropertyColumn]) -> Record | ValueError:
    """Make a record of a crystal and what else is known of it."""
    try:
        if not isinstance(one, IStructure | Atoms):
            raise ValueError(f"{type(one).__name__} is nothing that a model can read")
        known, notes = properties_from(row, properties, {})
        return Record("given", {"structure": structure_of(one)}, known, notes)
    except ValueError as error:
        return error


def _material(
    row: Row, mapping: TableMapping, metadata: Mapping[str, str], kinds: Mapping[str, Kind]
) -> Record | ValueError:
    """Make a record of the parts of a row."""
    found: dict[str, Any] = {}
    try:
        if mapping.structure is not None:
            read = structure_from(row, mapping.structure, mapping.reading, metadata)
            found |= {} if read is None else {"structure": read[0]}
        known, notes = properties_from(row, mapping.properties, kinds)
        return Record("given", found | other_parts(row, mapping, {}), known, notes)
    except ValueError as error:
        return error


def _named(row: Row, mapping: TableMapping, otherwise: str) -> str:
    value = None if mapping.id is None else row.get(mapping.id)
    return otherwise if value is None else str(value)


def _of_frame(frame: pd.DataFrame) -> TableMapping:
    told = told_columns(_cells(frame))
    if not told.holds_materials:
        known = ", ".join(frame.columns)
        raise UserError(
            f"no column of the table holds materials (its columns: {known}); say which "
            'does, as in columns={"formula": "composition"}'
        )
    return told.mapping()


def _cells(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """Give the values of the first rows."""
    return {name: frame[name].head(_LOOKED_AT_ROWS).tolist() for name in frame.columns}


def check_columns(columns: Mapping[str, Any] | None) -> None:
    """Check what a user says of the columns of tables, before any of them is read.

    Raises:
        UserError: it is wrong.
    """
    if columns is not None and not _is_id(columns):
        mapping_of(columns)


def _is_id(columns: Mapping[str, Any]) -> bool:
    """Say whether only the column of ids is named, which says enough beside crystals."""
    return (
        isinstance(columns, Mapping) and columns.keys() == {"id"} and isinstance(columns["id"], str)
    )


def mapping_of(columns: Mapping[str, Any]) -> TableMapping:
    """Read what a user says of the columns of tables.

    Raises:
        UserError: it is wrong.
    """
    try:
        return TableMapping.model_validate(columns)
    except ValidationError as error:
        raise UserError(f"columns: {first_mistake(error)}") from error


def _check(mapping: TableMapping, known: Sequence[str]) -> None:
    for key, column in mapping.columns():
        if column not in known and not mapping.is_optional(key):
            raise _no_column(key, column, known)


def _no_column(key: str, column: str, known: Iterable[str]) -> UserError:
    return UserError(
        f"columns: {key}: there is no column {column!r}; choose one of {', '.join(known)}"
    )


def _column_of_crystals(frame: pd.DataFrame) -> Any:
    """Find the column of crystals of other libraries; None if there is none."""
    for name in frame.columns:
        first = next((one for one in frame[name] if one is not None), None)
        if isinstance(first, IStructure | Atoms):
            return name
    return None


def _first_cells(file: UPath) -> dict[str, list[Any]]:
    rows = rows_of(file)
    read = rows.read(0, min(_LOOKED_AT_ROWS, rows.count()), rows.columns)
    known = [row for row in read if not isinstance(row, ValueError)]
    return {name: [row.get(name) for row in known] for name in rows.columns}
