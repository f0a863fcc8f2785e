"""Labels of the user's own: tables that are joined to the records of any source.

A row belongs to the record whose ``material_id`` it names, or else to the record of the file that
it names, with or without the ending. Names are compared as they are, and then as ``safe_id`` makes
ids of them. A label replaces a property of the source that has its name, in all records: a property
never mixes values of two origins. The provenance of each record says which labels it got.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.paths import absolute_path
from omnimat.base.settings import Settings
from omnimat.base.words import suggestion
from omnimat.materials.record import Failure, Record, safe_id
from omnimat.sources.cells import LabelKind, Unusable, likely_kind, read_cell
from omnimat.sources.label_files import Columns, read_columns

# Keys of a record's provenance.
LABEL_ID, LABELS, REPLACED = "label_id", "labels", "replaced_by_labels"
# Key under which a source names the file of a record whose id differs from the file's name.
FILE = "file"

_PACKED = frozenset({".gz", ".bz2", ".xz", ".zst"})
_SIGNS = {"/": "_per_", "%": "percent", "Å": "angstrom", "°": "degree", "µ": "u", "^": ""}


class LabelColumn(Settings):
    """A column of labels.

    Attributes:
        column: name of the column in the table, where the label has another one; the key of a job
            file is ``from``.
        kind: whether the labels are numbers or classes. As classes, booleans become ``true`` and
            ``false``, and whole numbers their digits.
        unit: unit of the numbers, with which the label's name must end (``hardness_gpa``).
    """

    model_config = ConfigDict(populate_by_name=True)

    column: str | None = Field(None, alias="from")
    kind: LabelKind = "number"
    unit: str = ""


class LabelsSettings(Settings):
    """Labels of one's own.

    Attributes:
        path: path of the table, or of several: CSV, TSV, Parquet or JSON lines, plain or ``.gz``.
        id: column with the ids of the materials or the names of their files.
        columns: the labels by their names; None takes every other column, as numbers or classes.
    """

    path: str | tuple[str, ...]
    id: str = "material_id"
    columns: Mapping[str, LabelColumn] | None = Field(None, min_length=1)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of all tables."""
        return (self.path,) if isinstance(self.path, str) else self.path

    @model_validator(mode="after")
    def _names_end_with_units(self) -> Self:
        if not self.paths:
            raise ValueError("path: name at least one table")
        for name, column in (self.columns or {}).items():
            ending = unit_in_names(column.unit)
            if column.unit and column.kind == "class":
                raise ValueError(f"columns.{name}: a class has no unit; remove it")
            if ending and not f"_{name.lower()}".endswith(f"_{ending}"):
                raise ValueError(
                    f"columns.{name}: a name ends with its unit; call the label {name}_{ending}"
                )
        return self

    def located(self) -> Self:
        """Return the same labels with absolute paths.

        Raises:
            UserError: a table is missing.
        """
        located = tuple(absolute_path(path, "labels.path") for path in self.paths)
        path = located[0] if isinstance(self.path, str) else located
        return self.model_copy(update={"path": path})

    def inputs(self) -> dict[str, UPath]:
        """Return the tables by names that stay the same wherever they lie."""
        return {f"labels.path.{i}": UPath(path) for i, path in enumerate(self.paths)}


def unit_in_names(unit: str) -> str:
    """Return a unit as names of properties end with it: eV/atom becomes ``ev_per_atom``."""
    for sign, word in _SIGNS.items():
        unit = unit.replace(sign, word)
    return re.sub(r"\W+", "_", unit.lower()).strip("_")


@dataclass(frozen=True)
class Labels:
    """Tables of labels, read.

    Attributes:
        files: names of the tables.
        kinds: whether each label is a number or a class, by its name.
        rows: labels by id and name; unknown ones are absent, unusable ones say why they are.
        num_unknown: how many cells of each label are empty or NaN.
        num_repeated: how many rows say what an earlier one of the same table says.
        num_without_id: how many rows have no id.
        takes_all_columns: whether every column but the ids was taken.
    """

    files: tuple[str, ...]
    kinds: Mapping[str, LabelKind]
    rows: dict[str, dict[str, float | str | Unusable]] = field(default_factory=dict)
    num_unknown: Counter[str] = field(default_factory=Counter)
    num_repeated: int = 0
    num_without_id: int = 0
    takes_all_columns: bool = False
    _by_safe_id: dict[str, set[str]] = field(default_factory=dict)

    def id_of(self, record: Record) -> str | None:
        """Return the id under which the tables know a record, or None if they do not know it."""
        names = _names_of(record)
        for name in names:
            if name in self.rows:
                return name
        for name in names:
            found = self._by_safe_id.get(safe_id(name), set())
            if len(found) == 1:
                return next(iter(found))
        return None

    def rivals(self, label_id: str) -> list[str]:
        """Return the other ids of the tables that become the same material id."""
        return sorted(self._by_safe_id[safe_id(label_id)] - {label_id})

    def usable(self, label_id: str) -> dict[str, float | str]:
        """Return the labels of an id that are known and usable."""
        row = self.rows[label_id].items()
        return {name: value for name, value in row if not isinstance(value, Unusable)}

    def joined(self, items: Iterable[Record | Failure]) -> Iterator[Record | Failure]:
        """Yield each record with its labels, in order."""
        for item in items:
            yield item if isinstance(item, Failure) else self._joined(item)

    def _joined(self, record: Record) -> Record:
        label_id = self.id_of(record)
        labels = {} if label_id is None else self.usable(label_id)
        properties = {k: v for k, v in record.properties.items() if k not in self.kinds}
        provenance = dict(record.provenance)
        if replaced := sorted(record.properties.keys() & self.kinds.keys()):
            provenance[REPLACED] = ", ".join(replaced)
        if label_id is not None:
            told = f"{', '.join(labels) or 'none'} from {', '.join(self.files)}"
            provenance |= {LABEL_ID: label_id, LABELS: told}
        return replace(record, properties=properties | labels, provenance=provenance)


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
        _by_safe_id=by_safe_id,
    )


def label_names(settings: LabelsSettings) -> frozenset[str]:
    """Return the names of all labels; the tables are read only if ``columns`` is left out."""
    return frozenset(settings.columns or read_labels(settings).kinds)


def _chosen(
    settings: LabelsSettings, tables: Mapping[str, Columns], column_key: str
) -> dict[str, LabelColumn]:
    """Return the columns that are read, by the names of their labels."""
    names = dict.fromkeys(name for columns in tables.values() for name in columns)
    if settings.columns is None:
        others = [name for name in names if name != settings.id]
        cells = {n: [c for t in tables.values() for c in t.get(n, ())] for n in others}
        return {n: LabelColumn(column=n, kind=likely_kind(cells[n])) for n in others}
    chosen = {}
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
        self.rows: dict[str, dict[str, float | str | Unusable]] = {}
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

    def _note(
        self,
        path: str,
        label_id: str,
        row: dict[str, float | str | Unusable],
        name: str,
        value: float | str | Unusable | None,
    ) -> None:
        if value is None:
            self.num_unknown[name] += 1
        elif row.setdefault(name, value) != value:
            both = " and ".join(_told(one) for one in (row[name], value))
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
                    f"used: {first.cell!r} {first.reason}; set its kind or choose another column"
                )


def _id_in(cell: Any) -> str:
    """Return the id in a cell: strings as they are, whole numbers as their digits."""
    if isinstance(cell, str):
        return cell.strip()
    value = read_cell(cell, "class")
    return value if isinstance(value, str) else ""


def _told(value: float | str | Unusable) -> str:
    return repr(value.cell if isinstance(value, Unusable) else value)


def _names_of(record: Record) -> Sequence[str]:
    """Return the names under which a table may know a record."""
    names = [record.material_id]
    if file := record.provenance.get(FILE):
        name = UPath(file).name
        path = UPath(name)
        unpacked = path.stem if path.suffix.lower() in _PACKED else name
        names += [name, UPath(unpacked).stem]
    return names
