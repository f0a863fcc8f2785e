"""Reads POSCAR and CONTCAR files, the structures of VASP.

ASE and pymatgen guess elements where a file names none, and pass over surplus names in silence. So
the few lines are parsed here; see https://www.vasp.at/wiki/index.php/POSCAR.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from omnimat.formats.format import Format, Reading
from omnimat.formats.sites import check_atoms, check_cell, numbers_of
from omnimat.formats.unpacked import whole
from omnimat.materials.record import Failure, Record, Structure

_HERE = "omnimat.formats.poscar"

POSCAR = Format(
    label="POSCAR",
    patterns=("poscar*", "contcar*", "*.poscar", "*.vasp", "*.poscar.gz", "*.vasp.gz"),
    read=f"{_HERE}:read",
    names_in_every_folder=("contcar", "poscar"),
)

_MAX_BYTES = 64 * 2**20
_MAX_ATOMS = 100_000


def read(path: UPath, reading: Reading, start: int, stop: int) -> Iterator[Record | Failure]:
    """Read the only structure of a file; velocities and whatever else follows it are left out.

    Raises:
        ValueError: the file cannot be read; the reason does not name it.
    """
    del reading
    if not start <= 0 < stop:
        return
    text = whole(path, _MAX_BYTES).decode("utf-8-sig", errors="replace")
    structure, notes = parse(text)
    yield Record("", {"structure": structure}, provenance=notes)


def parse(text: str) -> tuple[Structure, dict[str, str]]:
    """Read the structure of a POSCAR, and give the notes for its provenance.

    Raises:
        ValueError: it is not one, or it does not say which elements its atoms are.
    """
    from ase import Atoms

    from omnimat.formats.crystals import from_ase

    lines = [line.partition("#")[0].partition("!")[0].split() for line in text.splitlines()]
    cell, scale = _cell(lines)
    atoms = _atoms(lines, text.partition("\n")[0])
    numbers = _atomic_numbers(atoms.symbols)
    coordinates = atoms.coordinates * scale if atoms.is_cartesian else atoms.coordinates
    check_atoms(numbers, coordinates)
    key = "positions" if atoms.is_cartesian else "scaled_positions"
    structure = from_ase(Atoms(numbers, cell=cell, pbc=True, **{key: coordinates}))
    return structure, atoms.notes


@dataclass(frozen=True, slots=True)
class _Atoms:
    """What follows the cell: n symbols, coordinates of shape (n, 3), and how to understand them."""

    symbols: Sequence[str]
    coordinates: NDArray[np.float64]
    is_cartesian: bool
    notes: dict[str, str]


_Lines = Sequence[Sequence[str]]


def _cell(lines: _Lines) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scaled cell, and by what Cartesian coordinates are multiplied.

    A negative scale is the volume of the cell; three scales multiply x, y and z.
    """
    scale = numbers_of(_line(lines, 1), (-1,), "scale")
    if scale.size not in (1, 3):
        raise ValueError(f"wrong counts: its second line has {scale.size} scales, not 1 or 3")
    cell = numbers_of([_line(lines, i)[:3] for i in (2, 3, 4)], (3, 3), "cell")
    if scale.size == 1 and scale[0] < 0:
        check_cell(cell)
        scale = np.cbrt(-scale / abs(np.linalg.det(cell)))
    cell = cell * scale
    check_cell(cell)
    return cell, scale


def _atoms(lines: _Lines, comment: str) -> _Atoms:
    """Read what follows the cell."""
    names, counts, position = _header(lines)
    num_atoms = sum(counts)
    if num_atoms == 0:
        raise ValueError("no atoms: the cell is empty")
    if num_atoms > _MAX_ATOMS:
        raise ValueError(f"too many atoms: {num_atoms}, more than {_MAX_ATOMS}")
    mode = _line(lines, position)[0].lower()
    if is_selective := mode.startswith("s"):
        position += 1
        mode = _line(lines, position)[0].lower()
    if not mode[0].isalpha():
        raise ValueError(f"not a POSCAR: line {position + 1} says neither Direct nor Cartesian")
    rows = lines[position + 1 : position + 1 + num_atoms]
    if len(rows) < num_atoms:
        raise ValueError(f"truncated: {len(rows)} of {num_atoms} atoms are there")
    _check_end(lines, position + 1 + num_atoms, num_atoms)
    coordinates = numbers_of([row[:3] for row in rows], (num_atoms, 3), "coordinates")
    notes: dict[str, str] = {}
    if names:
        symbols = [name for name, n in zip(names, counts, strict=True) for _ in range(n)]
    else:
        symbols, notes = _unnamed(rows, counts, comment, 6 if is_selective else 3)
    return _Atoms(symbols, coordinates, mode[0] in "ck", notes)


def _check_end(lines: _Lines, position: int, num_atoms: int) -> None:
    """Refuse a row that follows the last atom; velocities follow a line without numbers."""
    if position < len(lines) and len(lines[position]) > 2 and _is_number(lines[position][0]):
        raise ValueError(f"wrong counts: more rows follow than its {num_atoms} atoms")


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _header(lines: _Lines) -> tuple[list[str], list[int], int]:
    """Return symbols, which VASP 4 leaves out, their counts, and the number of the next line.

    VASP breaks both into lines of twenty.
    """
    names: list[str] = []
    position = 5
    while not _line(lines, position)[0].lstrip("+-").isdigit():
        names += [name.partition("/")[0].partition("_")[0] for name in lines[position]]
        position += 1
    counts = _counts(lines[position])
    position += 1
    while len(counts) < len(names) and _line(lines, position)[0].isdigit():
        counts += _counts(lines[position])
        position += 1
    if names and len(names) != len(counts):
        raise ValueError(f"wrong counts: {len(names)} elements have {len(counts)} numbers of atoms")
    return names, counts, position


def _counts(words: Sequence[str]) -> list[int]:
    if not all(word.isdecimal() and len(word) < 10 for word in words):
        raise ValueError(f"wrong counts: {' '.join(words)!r} are no numbers of atoms")
    return [int(word) for word in words]


def _unnamed(
    rows: _Lines, counts: Sequence[int], comment: str, column: int
) -> tuple[list[str], dict[str, str]]:
    """Find the elements of a file of VASP 4: beside each atom, or as the whole first line."""
    beside = [row[column] for row in rows if len(row) > column]
    if len(beside) == len(rows) and all(map(_is_element, beside)):
        return beside, {"structure": "elements are named beside the coordinates"}
    words = comment.split()
    if len(words) == len(counts) and all(map(_is_element, words)):
        symbols = [name for name, n in zip(words, counts, strict=True) for _ in range(n)]
        return symbols, {"structure": "elements are named in the first line"}
    raise ValueError(
        "no elements: neither a line before the numbers of atoms nor the first line names them"
    )


def _line(lines: _Lines, number: int) -> Sequence[str]:
    """Return the words of a line that must be there, counted from 0."""
    if number >= len(lines):
        raise ValueError(f"truncated: it ends before line {number + 1}")
    if not lines[number]:
        raise ValueError(f"not a POSCAR: line {number + 1} is blank")
    return lines[number]


def _is_element(symbol: str) -> bool:
    from ase.data import atomic_numbers

    return bool(atomic_numbers.get(symbol, 0))


def _atomic_numbers(symbols: Sequence[str]) -> NDArray[np.int64]:
    from ase.data import atomic_numbers

    if unknown := sorted({symbol for symbol in symbols if not _is_element(symbol)}):
        raise ValueError(f"unknown element: {', '.join(unknown)[:80]!r}")
    return np.array([atomic_numbers[symbol] for symbol in symbols], dtype=np.int64)
