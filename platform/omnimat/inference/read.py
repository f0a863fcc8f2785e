"""Reads what a user gives a model: files, tables, data sets, crystals of other libraries, words."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pandas as pd
from ase import Atoms
from pymatgen.core import Composition, IStructure
from tqdm import tqdm
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.formats.crystals import structure_of
from omnimat.formats.format import Reading, format_of
from omnimat.inference.tables import check_columns, is_table, rows_in_file, rows_in_frame
from omnimat.materials.record import Failure, Record
from omnimat.materials.validation import validate
from omnimat.modalities.batch import Quarantined
from omnimat.modalities.registry import MODALITIES, parts
from omnimat.search.read import read_query
from omnimat.shards.codec import decode
from omnimat.shards.manifest import MANIFEST_NAME, Manifest
from omnimat.shards.reader import read_records

_ALL_ENTRIES = 2**62
_RECORDS_AT_A_TIME = 512  # of a data set; one may hold megabytes
_DATASET = "dataset:"
_PATIENCE_S = 2.0  # before a progress bar is shown
Columns = Mapping[str, Any]
"""Which column of a table holds what: the keys of ``docs/tables.md``."""


@dataclass(frozen=True, slots=True)
class Given:
    """One material that a user gave.

    Attributes:
        name: what the user knows it by: a path, a path and the name of an entry, a formula, or the
            place in what was given (``#0``).
        record: what was read, or why it could not be.
    """

    name: str
    record: Record | Quarantined


def read_all(inputs: Any, columns: Columns | None = None) -> Iterator[Given]:
    """Read whatever a user gives.

    Args:
        inputs: one input or several of them: a path or a glob of files, in a format that omnimat
            reads; a table of materials, as a file or a ``pandas.DataFrame``; the folder of a data
            set, or ``dataset:NAME`` of the storage; a ``pymatgen.core.Structure``; an
            ``ase.Atoms``; a formula, also as ``pymatgen.core.Composition``; words; a ``Record``,
            or its parts by their names.
        columns: which column of tables holds what; None goes by their names and values, and takes
            what is no part of a material as a property.

    Raises:
        UserError: it is nothing of the kind, ``columns`` are wrong, or a table is that was not
            given as a file.
    """
    check_columns(columns)
    for place, one in enumerate(_each(inputs)):
        if isinstance(one, str | os.PathLike):
            yield from _of_text(os.fspath(one), columns)
        elif isinstance(one, pd.DataFrame):
            for name, row in rows_in_frame(one, columns):
                yield _guarded(name, row)
        else:
            yield _guarded(f"#{place}", one)


def _each(inputs: Any) -> Iterator[Any]:
    """Give the inputs one by one."""
    try:
        return iter([inputs] if isinstance(inputs, _SINGLE) else inputs)
    except TypeError:
        raise UserError(
            f"inputs: {type(inputs).__name__} is nothing that a model can read; give a path, a "
            "table, a crystal, a formula, or a list of these"
        ) from None


def watched(given: Iterable[Given], progress: bool) -> Iterable[Given]:
    """Show how many were read, if that takes a while and anybody looks."""
    return tqdm(given, unit=" materials", delay=_PATIENCE_S, disable=None if progress else True)


def in_chunks(given: Iterable[Given], size: int) -> Iterator[list[Given]]:
    """Take so many at a time."""
    waiting = iter(given)
    while chunk := list(islice(waiting, size)):
        yield chunk


def _of_text(text: str, columns: Columns | None) -> Iterator[Given]:
    """Read a path, a glob, a data set, a formula or words."""
    if (folder := dataset_folder(text)) is not None:
        yield from _of_dataset(folder)
        return
    paths = [text] if os.path.exists(text) else sorted(glob.glob(text, recursive=True))
    if not paths:
        yield _guarded(text, text)
    for path in paths:
        yield from _of_folder(path, columns) if os.path.isdir(path) else _of_file(path, columns)


def dataset_folder(text: str) -> UPath | None:
    """Find the data set that a user names, by its folder or as ``dataset:NAME`` of the storage.

    Returns:
        Its folder; None if the text is nothing of the kind.
    """
    if text.startswith(_DATASET):
        return Workspace.open().dataset(text.removeprefix(_DATASET))
    is_one = os.path.exists(os.path.join(text, MANIFEST_NAME))
    return UPath(os.path.abspath(text)) if is_one else None


def _of_folder(path: str, columns: Columns | None) -> Iterator[Given]:
    if (folder := dataset_folder(path)) is not None:
        yield from _of_dataset(folder)
        return
    entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    files = [one.path for one in entries if one.is_file() and format_of(UPath(one.path))]
    if not files:
        yield Given(path, Quarantined(path, "it holds no file that can be read"))
    for file in files:
        yield from _of_file(file, columns)


def _of_dataset(folder: UPath) -> Iterator[Given]:
    """Read the records of a data set in the order of its index."""
    index = Manifest.load(folder).records(folder)
    for start in range(0, len(index), _RECORDS_AT_A_TIME):
        for raw in read_records(folder, index.iloc[start : start + _RECORDS_AT_A_TIME]):
            name = raw.material_id
            try:
                yield Given(name, decode(name, raw.members))
            except ValueError as error:
                yield Given(name, Quarantined(name, " ".join(str(error).split())))


def _of_file(path: str, columns: Columns | None) -> Iterator[Given]:
    file = UPath(os.path.abspath(path))
    try:
        if is_table(file, columns):
            for name, row in rows_in_file(file, columns):
                yield _guarded(f"{path}:{name}", row)
        else:
            yield from _of_entries(path, file)
    except (ValueError, OSError, UserError) as error:
        yield Given(path, Quarantined(path, " ".join(str(error).split())))


def _of_entries(path: str, file: UPath) -> Iterator[Given]:
    format_ = format_of(file)
    if format_ is None:
        raise ValueError("no format that can be read has files of this name")
    for entry in format_.entries(file, Reading(), 0, _ALL_ENTRIES):
        name = f"{path}:{entry.material_id}" if entry.material_id else path
        if isinstance(entry, Failure):
            yield Given(name, Quarantined(name, entry.reason))
        else:
            yield _guarded(name, Record("given", entry.parts, entry.properties))


def _guarded(name: str, one: Any) -> Given:
    try:
        return Given(name, _record(one))
    except (ValueError, UserError) as error:
        return Given(name, Quarantined(name, " ".join(str(error).split())))


def _record(one: Any) -> Record:
    """Make a record of one input, or raise what is wrong with it."""
    if isinstance(one, ValueError):
        raise one
    if isinstance(one, str):
        return read_query(one).record
    if isinstance(one, Composition):  # before mappings, since it is one
        one = {"composition": one}
    if isinstance(one, IStructure | Atoms):
        one = Record("given", {"structure": structure_of(one)})
    elif isinstance(one, Mapping):
        one = Record("given", {name: _part(name, value) for name, value in one.items()})
    if not isinstance(one, Record):
        raise ValueError(f"{type(one).__name__} is nothing that a model can read")
    if one.structure is not None:
        validate(one.structure)
    return one


def _part(name: str, value: Any) -> Any:
    """Check a part of a record that a user gives by its name."""
    if name not in parts():
        raise ValueError(f"{name!r} is no part of a material; it has {', '.join(parts())}")
    if isinstance(value, IStructure | Atoms):
        value = structure_of(value)
    if isinstance(value, Composition):
        value = value.formula.replace(" ", "")
    query = MODALITIES.load(name).load_query() if name in MODALITIES.names else None
    if isinstance(value, str) and query is not None and query.from_words is not None:
        value = query.from_words(value)
    try:
        parts()[name].encode(value)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
    return value


_SINGLE = (str, os.PathLike, IStructure, Atoms, Record, pd.DataFrame, Mapping)
