"""Looks at what a user points to: files of crystals, a table of materials, a table of labels."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.paths import expanded_path
from omnimat.base.words import suggestion
from omnimat.materials.record import safe_id
from omnimat.sources.files.listing import Listing, listing
from omnimat.sources.files.source import Files
from omnimat.sources.tables.told import (
    Cells,
    Labelled,
    TableColumns,
    best_id_column,
    by_name,
    told_columns,
    told_labels,
)

_TABLE = re.compile(r"\.(csv|tsv|jsonl|ndjson)(\.gz)?$|\.(parquet|pq)$", re.IGNORECASE)
_WILDCARD = re.compile(r"[*?\[]")
LOOKED_AT_ROWS = 1000
"""How many rows of a table, or entries of a file, are looked at."""
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Look:
    """What a path holds.

    Attributes:
        path: the path as the user wrote it.
        num_items: how many materials it holds, including those that cannot be read.
        found: what was found, in words (``24 CIF``).
        not_read: what is not read, in whole lines.
        num_named: how many of them were looked at for their names.
        names: names that these go by, as ``safe_id`` makes them.
        table: what the columns hold if the path is a table; None for files.
    """

    path: str
    num_items: int
    found: tuple[str, ...]
    not_read: tuple[str, ...] = ()
    num_named: int = 0
    names: frozenset[str] = frozenset()
    table: TableColumns | None = None


@dataclass(frozen=True, slots=True)
class LabelsLook:
    """What a table of labels holds.

    Attributes:
        path: the path as the user wrote it.
        id: column that names the materials.
        num_matching: how many of its values name a material that was found.
        num_rows: how many rows the table has.
        labels: columns that become labels.
        left_out: names of the other columns.
    """

    path: str
    id: str
    num_matching: int
    num_rows: int
    labels: tuple[Labelled, ...]
    left_out: tuple[str, ...]


def look_at(path: str, id_column: str | None = None) -> Look:
    """Look at a folder, a file, a pattern or a table.

    Args:
        path: as the user wrote it.
        id_column: column of the ids, if the path is a table.

    Raises:
        UserError: nothing is there that can be read.
    """
    where = expanded_path(path, "PATH")
    if not _WILDCARD.search(path) and not where.exists():
        raise UserError(f"{path} does not exist; give a folder, a file, or a pattern in quotes")
    if not _TABLE.search(path):
        return _files_or_tables(path, id_column)
    look = _table(path, id_column)
    if look.table is not None and look.table.holds_materials:
        return look
    try:
        return _files(path)
    except UserError:
        raise _useless(look) from None


def default_name(path: str) -> str:
    """Name a data set after a folder or file, or after the folder before the wildcards."""
    whole = UPath(path)
    parts = whole.parts
    wild = next((i for i, part in enumerate(parts) if _WILDCARD.search(part)), None)
    if wild is not None:
        whole = UPath(*parts[:wild]) if wild else UPath(".")
    whole = whole.absolute()
    stem = whole.name if whole.is_dir() else whole.name.partition(".")[0]
    return re.sub(r"[^A-Za-z0-9_.\-]", "_", stem).lstrip("_.-") or "data"


def look_at_labels(
    path: str, look: Look, id_column: str | None, split_column: str | None
) -> LabelsLook:
    """Look at a table of labels for materials that were found.

    Args:
        path: as the user wrote it.
        look: the materials.
        id_column: column of the ids; None finds the one that names most materials.
        split_column: column of the splits, which is no label.

    Raises:
        UserError: it cannot be read, lacks a column, names none of the materials, or has two
            columns that would be one label.
    """
    from omnimat.sources.tables.files import read_columns

    where = expanded_path(path, "labels")
    if not where.exists():
        raise UserError(f"--labels: {path} does not exist; give the path of a table")
    cells = read_columns(where, "--labels")
    for option, column in (("--id", id_column), ("--split", split_column)):
        if column is not None and column not in cells:
            raise UserError(f"{option}: {path} has no column {column!r}{suggestion(column, cells)}")
    chosen = {id_column: cells[id_column]} if id_column else cells
    best = best_id_column(chosen, look.names)
    if best is None:
        raise _no_match(path, cells, look, id_column)
    num_rows = max(len(values) for values in cells.values())
    aside = {best[0], split_column}
    labels = told_labels({k: v for k, v in cells.items() if k not in aside}, num_rows)
    taken = aside | {one.column for one in by_name(labels).values()}
    left_out = tuple(name for name in cells if name not in taken)
    return LabelsLook(path, best[0], best[1], num_rows, labels, left_out)


def split_values(path: str, column: str) -> list[str]:
    """Return the different values of a column of a table.

    Raises:
        UserError: the table cannot be read or lacks the column.
    """
    cells = _cells(path, {column})[0]
    if column not in cells:
        raise UserError(f"--split: {path} has no column {column!r}{suggestion(column, cells)}")
    return sorted({str(one).strip() for one in cells[column] if one not in (None, "")})


def _files_or_tables(path: str, id_column: str | None) -> Look:
    """Look at the files of a folder, or at its tables if it has nothing else that can be read."""
    try:
        return _files(path)
    except UserError:
        with contextlib.suppress(UserError):
            look = _table(path, id_column)
            if look.table is not None and look.table.holds_materials:
                return look
        raise


def _files(path: str) -> Look:
    located = Files(path=path).located()
    found = listing(located.path)
    formats = Counter(file.format.label for group in found.groups for file in group.files)

    return Look(
        path=path,
        num_items=found.num_items,
        found=tuple(f"{count} {label}" for label, count in formats.most_common()),
        not_read=tuple(found.described()),
        num_named=sum(min(group.num_items, LOOKED_AT_ROWS) for group in found.groups),
        names=frozenset(_names_in(located, found)),
    )


def _names_in(source: Files, found: Listing) -> Iterator[str]:
    """Yield the names of materials; those of a file of many are told by its first entries."""
    start = 0
    for group in found.groups:
        yield group.material_id
        for file in group.files:
            yield from (safe_id(file.path.name), safe_id(file.stem))
        if group.files[0].format.count is not None:
            stop = start + min(group.num_items, LOOKED_AT_ROWS)
            yield from (entry.material_id for entry in source.read(start, stop))
        start += group.num_items


def _table(path: str, id_column: str | None) -> Look:
    cells, num_rows, num_files = _cells(path, None)
    if id_column is not None and id_column not in cells:
        raise UserError(f"--id: {path} has no column {id_column!r}{suggestion(id_column, cells)}")
    columns = told_columns(cells, id_column)
    ids = _cells(path, {columns.id}, None)[0][columns.id] if columns.id else []
    return Look(
        path=path,
        num_items=num_rows,
        found=(f"{num_rows} rows" + (f" in {num_files} tables" if num_files > 1 else ""),),
        num_named=num_rows,
        names=frozenset(safe_id(str(one).strip()) for one in ids if one is not None),
        table=columns,
    )


def _cells(
    path: str, wanted: set[str] | None, max_rows: int | None = LOOKED_AT_ROWS
) -> tuple[Cells, int, int]:
    """Read columns of the first rows of a table; count all rows and files."""
    from omnimat.sources.tables.files import files_of, rows_of

    tables = [rows_of(file, "utf-8", None, None) for file in files_of(path).values()]
    names = list(dict.fromkeys(name for table in tables for name in table.columns))
    chosen = [name for name in names if wanted is None or name in wanted]
    left = max_rows
    cells: dict[str, list[object]] = {name: [] for name in chosen}
    for table in tables:
        stop = table.count() if left is None else min(left, table.count())
        for row in table.read(0, stop, chosen):
            for name in chosen:
                cells[name].append(None if isinstance(row, ValueError) else row.get(name))
        left = None if left is None else left - stop
    return cells, sum(table.count() for table in tables), len(tables)


def _useless(look: Look) -> UserError:
    known = look.table.labels if look.table else ()
    columns = ", ".join(repr(one.column) for one in known[:_SHOWN]) or "none that can be told"
    return UserError(
        f"{look.path} has no column of structures (CIF, pymatgen or POSCAR texts), formulas, "
        f"descriptions or patterns (its labels: {columns}); rename the column of formulas "
        f"'formula', or give the crystals as PATH and this table as --labels"
    )


def _no_match(path: str, cells: Cells, look: Look, id_column: str | None) -> UserError:
    examples = ", ".join(sorted(look.names)[:_SHOWN])
    remedy = "name the right column with --id" if id_column else "give the table a column of these"
    told = f"column {id_column!r}" if id_column else f"no column ({', '.join(cells)})"
    verb = "names no material" if id_column else "names a material"
    return UserError(
        f"--labels: {told} of {path} {verb} of {look.path}, whose materials go by names such as "
        f"{examples}; {remedy}"
    )
