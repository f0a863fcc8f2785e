"""Reads what a user gives a model: files, crystals of other libraries, formulas and words."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ase import Atoms
from pymatgen.core import Structure as PymatgenStructure
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.formats.crystals import from_ase, to_structure
from omnimat.formats.format import Reading, format_of
from omnimat.materials.record import Failure, Record
from omnimat.materials.validation import validate
from omnimat.modalities.batch import Quarantined
from omnimat.search.read import read_query

_ALL_ENTRIES = 2**62


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


def read_all(inputs: Any) -> Iterator[Given]:
    """Read whatever a user gives.

    Args:
        inputs: one input or several of them: a path or a glob of files, in a format that omnimat
            reads; a ``pymatgen.core.Structure``; an ``ase.Atoms``; a formula; words; a ``Record``.
    """
    is_one = isinstance(inputs, str | os.PathLike | PymatgenStructure | Atoms | Record)
    several: Iterable[Any] = [inputs] if is_one else inputs
    for place, one in enumerate(several):
        if isinstance(one, str | os.PathLike):
            yield from _of_text(os.fspath(one))
        else:
            yield _guarded(f"#{place}", one)


def in_chunks(given: Iterable[Given], size: int) -> Iterator[list[Given]]:
    """Take so many at a time."""
    waiting = iter(given)
    while chunk := list(islice(waiting, size)):
        yield chunk


def _of_text(text: str) -> Iterator[Given]:
    """Read a path, a glob, a formula or words."""
    paths = [text] if os.path.exists(text) else sorted(glob.glob(text, recursive=True))
    if not paths:
        yield _guarded(text, text)
    for path in paths:
        yield from _of_folder(path) if os.path.isdir(path) else _of_file(path)


def _of_folder(path: str) -> Iterator[Given]:
    entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    files = [one.path for one in entries if one.is_file() and format_of(UPath(one.path))]
    if not files:
        yield Given(path, Quarantined(path, "it holds no file that can be read"))
    for file in files:
        yield from _of_file(file)


def _of_file(path: str) -> Iterator[Given]:
    file = UPath(os.path.abspath(path))
    format_ = format_of(file)
    if format_ is None:
        yield Given(path, Quarantined(path, "no format that can be read has files of this name"))
        return
    try:
        for entry in format_.entries(file, Reading(), 0, _ALL_ENTRIES):
            name = f"{path}:{entry.material_id}" if entry.material_id else path
            if isinstance(entry, Failure):
                yield Given(name, Quarantined(name, entry.reason))
            else:
                yield _guarded(name, Record("given", entry.parts, entry.properties))
    except (ValueError, OSError) as error:
        yield Given(path, Quarantined(path, " ".join(str(error).split())))


def _guarded(name: str, one: Any) -> Given:
    try:
        return Given(name, _record(one))
    except (ValueError, UserError) as error:
        return Given(name, Quarantined(name, " ".join(str(error).split())))


def _record(one: Any) -> Record:
    if isinstance(one, str):
        return read_query(one).record
    if isinstance(one, PymatgenStructure):
        one = Record("given", {"structure": to_structure(one)[0]})
    elif isinstance(one, Atoms):
        one = Record("given", {"structure": from_ase(one)})
    if not isinstance(one, Record):
        raise ValueError(f"{type(one).__name__} is nothing that a model can read")
    if one.structure is not None:
        validate(one.structure)
    return one
