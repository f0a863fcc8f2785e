"""Structures made from the columns of a row; their arrays are checked before anything uses them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnimat.formats.document_entries import record as entry_record
from omnimat.formats.format import Reading
from omnimat.formats.poscar import parse as parse_poscar
from omnimat.materials.crystals import lattice_from_parameters
from omnimat.materials.record import Structure
from omnimat.materials.validation import check_arrays
from omnimat.materials.values import shown
from omnimat.sources.tables.columns import Cell, StructureColumns, as_tuple
from omnimat.sources.tables.values import joined, numbers, words

Row = Mapping[str, Any]
Found = tuple[Structure, dict[str, str]]
"""A structure, and what its provenance says of how it was read."""

# What pymatgen raises, besides ValueError, for texts and dictionaries that are no structures.
_NO_STRUCTURE = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError)


def structure_from(
    row: Row, columns: StructureColumns, reading: Reading, metadata: Mapping[str, str]
) -> Found | None:
    """Make the structure of a row.

    Args:
        row: the values by column.
        columns: where the structure stands.
        reading: how crystals are read.
        metadata: metadata of the file.

    Returns:
        The structure, whose arrays are checked; None if the row has none.

    Raises:
        ValueError: it cannot be read, or its arrays are wrong.
    """
    try:
        found = _read(row, columns, reading, metadata)
    except _NO_STRUCTURE as error:
        raise ValueError(f"structure: cannot be read: {error!r}") from error
    if found is not None:
        check_arrays(found[0])
    return found


def _read(
    row: Row, columns: StructureColumns, reading: Reading, metadata: Mapping[str, str]
) -> Found | None:
    if columns.cell is not None:
        return _of_cell(row, columns.cell, metadata)
    (column,) = (name for _, name in columns.columns())
    value = row.get(column)
    if value is None:
        return None
    if columns.pymatgen is not None:
        return _of_document(json.loads(value) if isinstance(value, str) else value, reading)
    if not isinstance(value, str):
        raise ValueError(f"structure: {shown(value)} is no text")
    if columns.cif is None:
        return parse_poscar(value)
    from omnimat.formats.cif.reader import crystal_of  # 0.1 s of import, also to read settings

    return crystal_of(value, reading)


def _of_document(document: Any, reading: Reading) -> Found:
    record = entry_record("", document, reading)
    return record.parts["structure"], dict(record.provenance)


def _of_cell(row: Row, cell: Cell, metadata: Mapping[str, str]) -> Found | None:
    atoms = row.get(cell.atomic_numbers or str(cell.symbols))
    coords = [row.get(column) for column in as_tuple(cell.frac_coords)]
    if _is_empty(atoms) or all(map(_is_empty, coords)):
        return None
    is_by_number = cell.atomic_numbers is not None
    elements, notes = (_atomic_numbers(atoms), {}) if is_by_number else _of_symbols(atoms)
    frac_coords = _frac_coords(coords) / _scale(cell.frac_scale, metadata)
    return Structure(_lattice(row, cell), elements, np.mod(frac_coords, 1.0)), notes


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, list | str) and not value)


def _lattice(row: Row, cell: Cell) -> NDArray[np.float64]:
    if cell.lattice_angstrom is not None:
        return joined([row.get(cell.lattice_angstrom)], "lattice", 9).reshape(3, 3)
    if cell.parameters is not None:
        parameters = joined([row.get(cell.parameters)], "cell parameters", 6)
    else:
        halves = (
            joined([row.get(one) for one in as_tuple(columns)], what, 3)
            for columns, what in (
                (cell.lengths_angstrom, "cell lengths"),
                (cell.angles_degree, "cell angles"),
            )
        )
        parameters = np.concatenate([*halves])
    with np.errstate(all="ignore"):  # of impossible angles, which are found by their volume
        return lattice_from_parameters(parameters.tolist())


def _atomic_numbers(value: Any) -> NDArray[np.int32]:
    found = numbers(value, "atomic numbers").ravel()
    if not ((found == np.rint(found)) & (found > 0) & (found < 1000)).all():
        raise ValueError("atomic numbers: they must be whole numbers above zero")
    return found.astype(np.int32)


def _of_symbols(value: Any) -> tuple[NDArray[np.int32], dict[str, str]]:
    from pymatgen.core import Element

    symbols = words(value) if isinstance(value, str) else value
    if unknown := [one for one in symbols if not Element.is_valid_symbol(one)]:
        raise ValueError(f"symbols: {shown(unknown[0])} is no element")
    notes = {"structure": "its deuterium or tritium is stored as hydrogen"}
    elements = np.array([Element(one).Z for one in symbols], dtype=np.int32)
    return elements, notes if {"D", "T"} & set(symbols) else {}


def _frac_coords(values: list[Any]) -> NDArray[np.float64]:
    """Return coordinates of shape (n, 3), from one column or from three."""
    arrays = [numbers(value, "fractional coordinates") for value in values]
    if len(arrays) == 3:
        if len({array.size for array in arrays}) != 1:
            raise ValueError("fractional coordinates: the three columns differ in length")
        return np.stack([array.ravel() for array in arrays], axis=1)
    (array,) = arrays
    if array.size % 3 or (array.ndim > 1 and array.shape[-1] != 3):
        raise ValueError(f"fractional coordinates: shape {array.shape} does not come in threes")
    return array.reshape(-1, 3)


def _scale(scale: float | str, metadata: Mapping[str, str]) -> float:
    return float(metadata.get(scale, 1)) if isinstance(scale, str) else scale
