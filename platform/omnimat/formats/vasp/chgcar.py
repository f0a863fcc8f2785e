"""Charge densities of CHGCAR files, and all-electron densities of AECCAR0 and AECCAR2.

A file begins with a structure as in a POSCAR file. An empty line follows, the numbers of points
along a, b and c, and the density times the volume of the cell, with the index along a running
fastest, so that the mean is the number of electrons. The first grid is the sum over spins; what
follows it is not read.

A grid is brought to its coarse one plane by plane, so that the memory does not grow with the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import IO

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from omnimat.formats.format import Reading
from omnimat.formats.poscar import parse as parse_poscar
from omnimat.formats.unpacked import unpacked
from omnimat.formats.vasp.fortran import fortran_numbers
from omnimat.materials.record import Failure, Record, Structure
from omnimat.modalities.charge_density.resampling import resampled

Float = NDArray[np.float64]
Notes = dict[str, str]

NUM_POINTS = 32
_MAX_POINTS_OF_AN_AXIS = 2_048
_MAX_DENSITY = 1e30  # in electrons; far beyond any, and far from an overflow
_MAX_HEAD_BYTES = 20_000_000
_MAX_LINE_BYTES = 4_096
_LINES_AT_A_TIME = 32_768


def read(path: UPath, reading: Reading, start: int, stop: int) -> Iterator[Record | Failure]:
    """Read the structure and the density; see ``omnimat.formats.format.Read``."""
    del reading
    if start <= 0 < stop:
        structure, notes, grid = _read_file(path)
        yield _record(
            structure, notes, grid, "electrons of VASP's CHGCAR, those of the cores left out"
        )


def read_all_electrons(
    path: UPath, reading: Reading, start: int, stop: int
) -> Iterator[Record | Failure]:
    """Read AECCAR0 (the cores) and the AECCAR2 beside it (the valence), and add them.

    Of AECCAR2, which AECCAR0 reads, only the structure is read again.
    """
    del reading
    if not start <= 0 < stop:
        return
    if path.name.lower().startswith("aeccar2"):
        with unpacked(path) as file:
            structure, notes = _structure(file)
        yield Record("", {"structure": structure}, provenance=notes)
    else:
        name = path.name.replace("0", "2", 1)
        beside = path.parent / name
        if not beside.exists():
            raise ValueError(f"AECCAR2 is missing: there is no {name} with the valence electrons")
        structure, notes, cores = _read_file(path)
        other, _, valence = _read_file(beside)
        if not _is_same(structure, other):
            raise ValueError("AECCAR0 and AECCAR2 are of different structures")
        origin = "all electrons: VASP's AECCAR0 and AECCAR2"
        yield _record(structure, notes, cores + valence, origin)


def _record(structure: Structure, notes: Notes, grid: Float, origin: str) -> Record:
    parts = {"structure": structure, "charge_density": grid.astype(np.float32)}
    return Record("", parts, provenance={**notes, "charge_density": origin})


def _is_same(first: Structure, second: Structure) -> bool:
    return np.array_equal(first.atomic_numbers, second.atomic_numbers) and bool(
        np.allclose(first.lattice_angstrom, second.lattice_angstrom)
    )


def _read_file(path: UPath) -> tuple[Structure, Notes, Float]:
    with unpacked(path) as file:
        structure, notes = _structure(file)
        shape = _shape(file.readline(_MAX_LINE_BYTES))
        grid = np.concatenate(
            [resampled(one, NUM_POINTS, (0, 1)) for one in _planes(file, shape)], 2
        )
        _check_end(file, len(structure.atomic_numbers))
    grid = resampled(grid, NUM_POINTS, (2,))
    if not grid.mean() > 0:
        raise ValueError("the charge density holds no electrons")
    return structure, notes, grid


def _structure(file: IO[bytes]) -> tuple[Structure, Notes]:
    """Read the structure, up to the empty line, and give the notes for its provenance."""
    lines = [file.readline(_MAX_LINE_BYTES)]
    num_bytes = 0
    while (line := file.readline(_MAX_LINE_BYTES)).strip():
        lines.append(line)
        num_bytes += len(line)
        if num_bytes > _MAX_HEAD_BYTES:
            raise ValueError("the structure of the charge density has no end")
    try:
        return parse_poscar(b"".join(lines).decode("latin-1"))
    except ValueError as error:
        raise ValueError(f"the structure of the charge density cannot be read: {error}") from error


def _shape(line: bytes) -> tuple[int, int, int]:
    words = line.split()
    sizes = [int(word) for word in words if word.isdigit()]
    if len(words) != 3 or len(sizes) != 3:
        raise ValueError(
            f"the numbers of grid points cannot be read: {line[:60].decode('latin-1')!r}"
        )
    if not all(1 <= size <= _MAX_POINTS_OF_AN_AXIS for size in sizes):
        raise ValueError(f"the numbers of grid points are impossible: {sizes}")
    return sizes[0], sizes[1], sizes[2]


def _planes(file: IO[bytes], shape: tuple[int, int, int]) -> Iterator[Float]:
    """Give the grid in layers of planes perpendicular to c, shape (nx, ny, planes)."""
    size = shape[0] * shape[1]
    waiting: Float = np.empty(0)
    for numbers in _numbers(file, math.prod(shape)):
        waiting = np.concatenate([waiting, numbers])
        count = len(waiting) // size
        if count:
            yield waiting[: count * size].reshape(shape[0], shape[1], count, order="F")
            waiting = waiting[count * size :]


def _numbers(file: IO[bytes], count: int) -> Iterator[Float]:
    """Read ``count`` numbers in pieces; all lines but the last have as many as the first.

    Raises:
        ValueError: a line has another number of them, or the file ends before.
    """
    per_line = 0
    while count > 0:
        num_lines = min(math.ceil(count / per_line), _LINES_AT_A_TIME) if per_line else 1
        text = b"".join(islice(_lines(file), num_lines))
        if text.count(b"\n") < num_lines:  # a line without its end may have lost digits
            raise ValueError("the charge density is cut off")
        numbers = fortran_numbers(text)
        per_line = per_line or len(numbers)
        if not 0 < len(numbers) == min(count, num_lines * per_line):
            raise ValueError("the lines of the charge density do not fit its grid")
        if not (np.abs(numbers) < _MAX_DENSITY).all():
            raise ValueError("the charge density holds numbers that are not finite")
        yield numbers
        count -= len(numbers)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(_MAX_LINE_BYTES):
        yield line


def _check_end(file: IO[bytes], num_atoms: int) -> None:
    """Refuse a grid with more numbers than points; only moments of the atoms may follow it."""
    num_more = 0
    for line in _lines(file):
        if line.strip() and b"." not in line:
            return
        num_more += len(line.split())
        if num_more > 4 * num_atoms:
            raise ValueError("the charge density has more numbers than its grid has points")
