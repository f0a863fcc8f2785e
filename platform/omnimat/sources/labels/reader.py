"""Reads the tables of labels, and refuses what could be read in two ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.words import suggestion
from omnimat.materials.record import safe_id
from omnimat.sources.labels.cells import Cell, Unusable, likely_kind, read_cell
from omnimat.sources.labels.matching import LabelRow, Labels
from omnimat.sources.labels.names import label_name
from omnimat.sources.labels.settings import LabelColumn, LabelsSettings
from omnimat.sources.tables.files import read_columns

Columns = Mapping[str, Sequence[Any]]
"""The cells of a table by column."""


def read_labels(
    settings: LabelsSettings, key: str = "labels", column_key: str = "labels.columns.{}"
) -> Labels:
    """Read the tables of located labels.

    Args:
        settings: which tables and columns.
        key: key of the job file under which they are named.
        column_key: key of a column, with ``{}`` for the name of its label.

    Raises:
        UserError: a table cannot be read or lacks a column, an id has two different labels, or a
            column of numbers holds none.
    """
    tables = {path: read_columns(UPath(path), f"{key}.path") for path in settings.paths}
    for path, columns in tables.items():
        if settings.id not in columns:
            raise _no_column(f"{key}.id", path, settings.id, columns)
    chosen = _chosen(settings, tables, column_key)
    reader = _Reader(key, column_key, chosen)
    for path, columns in tables.items():
        reader.read(path, columns, settings.id)
    reader.refuse_useless_columns()
    by_safe_id: dict[str, set[str]] = {}
    for label_id in reader.rows:
        by_safe_id.setdefault(safe_id(label_id), set()).add(label_id)
    return Labels(
        files=tuple(UPath(path).name for path in settings.paths),
        kinds={name: column.kind for name, column in chosen.items()},
        rows=reader.rows,
        num_unknown=reader.num_unknown,
        num_repeated=reader.num_repeated,
        num_without_id=reader.num_without_id,
        takes_all_columns=settings.columns is None,
        by_safe_id=by_safe_id,
    )


def label_names(settings: LabelsSettings) -> frozenset[str]:
    """Return the names of all labels; the tables are read only if ``columns`` is left out."""
    return frozenset(settings.columns or read_labels(settings).kinds)


def _chosen(
    settings: LabelsSettings, tables: Mapping[str, Columns], column_key: str
) -> dict[str, LabelColumn]:
    """Return the columns that are read, by the names of their labels."""
    names = dict.fromkeys(name for columns in tables.values() for name in columns)
    chosen: dict[str, LabelColumn] = {}
    if settings.columns is None:
        others = [name for name in names if name != settings.id]
        cells = {n: [c for t in tables.values() for c in t.get(n, ())] for n in others}
        for name in others:
            kind = likely_kind(cells[name])
            label, unit = label_name(name, kind)
            if label in chosen:
                raise UserError(
                    f"{column_key.format(label)}: the columns {chosen[label].column!r} and "
                    f"{name!r} would both be this label; rename one"
                )
            chosen[label] = LabelColumn(column=name, kind=kind, unit=unit)
        return chosen
    for label, one in settings.columns.items():
        column = label if one.column is None else one.column
        if column not in names:
            raise _no_column(column_key.format(label), ", ".join(tables), column, names)
        chosen[label] = one.model_copy(update={"column": column})
    return chosen


def _no_column(key: str, path: str, column: str, known: Iterable[str]) -> UserError:
    return UserError(f"{key}: {path} has no column {column!r}{suggestion(column, tuple(known))}")


class _Reader:
    """Reads one table after another, and counts what is in them."""

    def __init__(self, key: str, column_key: str, chosen: Mapping[str, LabelColumn]) -> None:
        self.rows: dict[str, LabelRow] = {}
        self.num_unknown: Counter[str] = Counter()
        self.num_repeated = self.num_without_id = 0
        self._key, self._column_key, self._chosen = key, column_key, chosen

    def read(self, path: str, columns: Columns, id_column: str) -> None:
        """Read the rows of a table."""
        here = {name: one for name, one in self._chosen.items() if one.column in columns}
        seen: set[str] = set()
        for place, cell in enumerate(columns[id_column]):
            label_id = _id_in(cell)
            if not label_id:
                self.num_without_id += 1
                continue
            self.num_repeated += label_id in seen
            seen.add(label_id)
            row = self.rows.setdefault(label_id, {})
            for name, one in here.items():
                value = read_cell(columns[str(one.column)][place], one.kind)
                self._note(path, label_id, row, name, value)

    def _note(self, path: str, label_id: str, row: LabelRow, name: str, value: Cell) -> None:
        if value is None:
            self.num_unknown[name] += 1
        elif row.setdefault(name, value) != value:
            both = " and ".join(
                one.reason if isinstance(one, Unusable) else repr(one) for one in (row[name], value)
            )
            raise UserError(
                f"{self._key}.path: {path} gives {label_id!r} two values of {name}, {both}; "
                "leave one of them in the table"
            )

    def refuse_useless_columns(self) -> None:
        """Refuse a column in which no cell can be used, though some are not empty.

        Raises:
            UserError: there is one.
        """
        for name, one in self._chosen.items():
            values = [row[name] for row in self.rows.values() if name in row]
            if values and all(isinstance(value, Unusable) for value in values):
                first = values[0]
                assert isinstance(first, Unusable)
                raise UserError(
                    f"{self._column_key.format(name)}: no cell of column {one.column!r} can be "
                    f"used: {first.reason}; set its kind or choose another column"
                )


def _id_in(cell: Any) -> str:
    """Return the id in a cell: strings as they are, whole numbers as their digits."""
    if isinstance(cell, str):
        return cell.strip()
    value = read_cell(cell, "class")
    return value if isinstance(value, str) else ""
