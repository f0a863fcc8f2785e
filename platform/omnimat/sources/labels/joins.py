"""The tables that a job file lays beside its source: labels, and a split that is written down."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnimat.base.errors import UserError
from omnimat.materials.record import Failure, Record
from omnimat.materials.split import (
    NamedSplit,
    PropertySplit,
    Split,
    SplitColumn,
    SplitSettings,
    TableSplit,
)
from omnimat.materials.values import class_of
from omnimat.sources.labels.matching import Labels
from omnimat.sources.labels.reader import read_labels
from omnimat.sources.labels.settings import LabelColumn, LabelsSettings

if TYPE_CHECKING:
    from omnimat.sources.settings import IngestSettings

SplitRule = SplitSettings | Callable[[Record], Split]
"""How a split is drawn, or what returns the split that is written down for a record.

The latter raises a ValueError that says why a record has none.
"""

_SPLIT = "split"


@dataclass(frozen=True)
class Joins:
    """What is joined onto the records of a source.

    Attributes:
        labels: the labels; None where there are none.
        split: how the records are split.
    """

    labels: Labels | None
    split: SplitRule

    def joined(self, items: Iterable[Record | Failure]) -> Iterator[Record | Failure]:
        """Yield each record with its labels, in order."""
        return iter(items) if self.labels is None else self.labels.joined(items)


def read_joins(settings: IngestSettings) -> Joins:
    """Read the tables of located settings.

    Raises:
        UserError: a table cannot be read, or holds what cannot be used; the message names the key.
    """
    labels = None if settings.labels is None else read_labels(settings.labels)
    return Joins(labels, _split_rule(settings, labels))


def remembered_joins(settings: IngestSettings, inputs: str) -> Joins:
    """Return the tables, which are read once for all shards that a process writes.

    Args:
        settings: located settings.
        inputs: hash of the input files; an empty one stands for none, and nothing is remembered.
    """
    if not inputs:
        return read_joins(settings)
    key = (settings.model_dump_json(include={"labels", "split"}), inputs)
    if key not in _REMEMBERED:
        _REMEMBERED.clear()
        _REMEMBERED[key] = read_joins(settings)
    return _REMEMBERED[key]


_REMEMBERED: dict[tuple[str, str], Joins] = {}


def _split_rule(settings: IngestSettings, labels: Labels | None) -> SplitRule:
    split = settings.split
    if isinstance(split, SplitSettings):
        return split
    if isinstance(split, PropertySplit):
        if labels is not None and split.property in labels.kinds:
            _check_values(labels, split.property, split, "split.property", "split.values")
        return functools.partial(_split_by_property, split)
    table = split.table
    column = {_SPLIT: LabelColumn(column=table.column, kind="class")}
    where = LabelsSettings(**_where(table, settings.labels), columns=column)
    told = read_labels(where, "split.from", "split.from.column")
    _check_values(told, _SPLIT, table, "split.from.column", "split.from.values")
    return functools.partial(_split_by_table, split, told)


def _where(table: SplitColumn, labels: LabelsSettings | None) -> dict[str, str | tuple[str, ...]]:
    """Return path and id of the table of a split; what is left out is that of the labels."""
    written = {"path": table.path, "id": table.id}
    told = {} if labels is None else {"path": labels.path, "id": labels.id}
    return told | {key: value for key, value in written.items() if value is not None}


def _check_values(labels: Labels, name: str, split: NamedSplit, key: str, remedy: str) -> None:
    for label_id in labels.rows:
        value = labels.usable(label_id).get(name)
        try:
            if value is not None:
                split.named(class_of(value))
        except ValueError as error:
            raise UserError(
                f"{key}: {', '.join(labels.files)}: {label_id}: {error}; name it in {remedy}"
            ) from error


def _split_by_property(split: PropertySplit, record: Record) -> Split:
    value = record.properties.get(split.property)
    if value is None:
        raise ValueError(f"no split: the property {split.property!r} of split.property is unknown")
    return split.named(class_of(value))


def _split_by_table(split: TableSplit, told: Labels, record: Record) -> Split:
    files = ", ".join(told.files)
    label_id = told.id_of(record)
    if label_id is None:
        raise ValueError(f"no split: no row of {files} names it")
    value = told.usable(label_id).get(_SPLIT)
    if value is None:
        raise ValueError(f"no split: {files} has none for {label_id}")
    return split.table.named(str(value))
