"""A file of published predictions, read as the cells of a column by material."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.words import suggestion
from omnimat.finetune.imported.form import Form
from omnimat.materials.record import safe_id
from omnimat.materials.values import known, property_of
from omnimat.sources.tables.files import read_columns

_KEY = "FILE"
_MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """The rows of a file that are taken.

    Attributes:
        name: the name of the file.
        columns: all cells of each column.
        places: the row of each material, by its id.
        num_rows: how many rows the file has.
        num_left_out: how many were not asked for.
        num_without_id: how many others name no material.
    """

    name: str
    columns: Mapping[str, Sequence[Any]]
    places: Mapping[str, int]
    num_rows: int
    num_left_out: int
    num_without_id: int

    def cell(self, column: str, material_id: str) -> Any:
        """Give a cell; None where it is empty."""
        return known(self.columns[column][self.places[material_id]])

    def values(self, column: str, material_ids: Collection[str], form: Form) -> dict[str, Any]:
        """Read a column of targets or predictions.

        Args:
            column: the column.
            material_ids: the materials in question.
            form: what a value looks like.

        Returns:
            The value of each material; those whose cell is empty, or that have no row, are not
            there.

        Raises:
            UserError: a cell holds anything else.
        """
        cells = {one: self.cell(column, one) for one in material_ids if one in self.places}
        return {
            one: self._value(column, one, cell, form)
            for one, cell in cells.items()
            if cell is not None
        }

    def _value(self, column: str, material_id: str, cell: Any, form: Form) -> Any:
        try:
            return form.read(cell)
        except ValueError as error:
            raise UserError(
                f"{self.name}: column {column!r} of {material_id}: {error}; mend the file, or "
                "leave the cell empty if there is no prediction"
            ) from error


def read_table(
    path: UPath, id_column: str, where: Mapping[str, str], columns: Collection[str]
) -> PublishedTable:
    """Read a file of predictions.

    Args:
        path: the file: CSV, TSV, JSON lines or Parquet.
        id_column: the column of the materials' ids.
        where: what columns must say in a row that is taken.
        columns: all columns that the file must have.

    Raises:
        UserError: it cannot be read, lacks a column, has no such rows, or has a material twice.
    """
    cells = read_columns(path, _KEY)
    for name in columns:
        if name not in cells:
            raise UserError(f"{path} has no column {name!r}{suggestion(name, cells)}")
    num_rows = len(cells[id_column])
    taken = [
        place
        for place in range(num_rows)
        if all(_text(cells, name, place) == value for name, value in where.items())
    ]
    if not taken:
        raise UserError(f"{path} has no rows where {_told(where)}; {_values_of(cells, where)}")
    places: dict[str, int] = {}
    ids = [(safe_id(_text(cells, id_column, place)), place) for place in taken]
    for material_id, place in ids:
        if material_id and (first := places.setdefault(material_id, place)) != place:
            raise UserError(
                f"{path}: rows {first + 1} and {place + 1} both have the id {material_id} in "
                f"column {id_column!r}; keep one, or choose rows by another column with --where"
            )
    return PublishedTable(
        name=path.name,
        columns=cells,
        places=places,
        num_rows=num_rows,
        num_left_out=num_rows - len(taken),
        num_without_id=sum(not material_id for material_id, _ in ids),
    )


def _text(cells: Mapping[str, Sequence[Any]], column: str, place: int) -> str:
    """Give what a cell says as text: whole numbers as their digits, nothing as nothing."""
    try:
        label: str | None = property_of(cells[column][place], "class")
    except ValueError as error:
        raise UserError(f"FILE: column {column!r}, row {place + 1}: {error}; mend it") from error
    return label or ""


def _told(where: Mapping[str, str]) -> str:
    return " and ".join(f"{name} is {value!r}" for name, value in where.items())


def _values_of(cells: Mapping[str, Sequence[Any]], where: Mapping[str, str]) -> str:
    told = []
    for name in where:
        values = list(dict.fromkeys(_text(cells, name, i) for i in range(len(cells[name]))))
        more = f" and {len(values) - _MAX_SHOWN} more" * (len(values) > _MAX_SHOWN)
        told.append(f"{name} has {', '.join(map(repr, values[:_MAX_SHOWN]))}{more}")
    return "; ".join(told)
