"""Total densities of states of DOSCAR files.

The file begins with six lines; the last of them holds the highest and the lowest energy, the number
of energies and the Fermi level. A row follows for each energy: the energy, the density (of each
spin) and its integral (of each spin). Densities of single atoms, which may follow, are not read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO

import numpy as np
from numpy.typing import NDArray
from upath import UPath

from omnimat.formats.format import Reading
from omnimat.formats.unpacked import unpacked
from omnimat.formats.vasp.fortran import fortran_numbers
from omnimat.materials.record import Failure, Record
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.dos.computed import relative_to_fermi_level

_NUM_LINES_BEFORE = 6
_MAX_NUM_ENERGIES = 1_000_000
_MAX_LINE_BYTES = 1_000
_COLUMNS, _COLUMNS_OF_TWO_SPINS = 3, 5
# Energies of the rows have three decimals.
_ENERGY_TOLERANCE_EV = 2e-3


def read(path: UPath, reading: Reading, start: int, stop: int) -> Iterator[Record | Failure]:
    """Read the total density of states; see ``omnimat.formats.format.Read``."""
    del reading
    if start <= 0 < stop:
        with unpacked(path) as file:
            dos = _total(file)
        yield Record("", {"dos": dos}, provenance={"dos": "VASP DOSCAR"})


def _total(file: IO[bytes]) -> DensityOfStates:
    lines = [file.readline(_MAX_LINE_BYTES) for _ in range(_NUM_LINES_BEFORE)]
    highest_ev, lowest_ev, num_energies, fermi_level_ev = _header(lines[-1])
    rows = [fortran_numbers(row) for row in islice(_lines(file), num_energies)]
    if len(rows) < num_energies:
        raise ValueError(
            f"the DOSCAR is cut off: it has {len(rows)} energies instead of {num_energies}"
        )
    if {len(row) for row in rows} not in ({_COLUMNS}, {_COLUMNS_OF_TWO_SPINS}):
        raise ValueError("a row of the DOSCAR does not have three or five numbers")
    table = np.stack(rows)
    energies_ev = _even_energies(table[:, 0], lowest_ev, highest_ev)
    down = table[:, 2] if table.shape[1] == _COLUMNS_OF_TWO_SPINS else None
    return relative_to_fermi_level(energies_ev, fermi_level_ev, table[:, 1], down)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(_MAX_LINE_BYTES):
        yield line


def _header(line: bytes) -> tuple[float, float, int, float]:
    """Read the highest and the lowest energy, the number of energies and the Fermi level."""
    # Five digits of the number of energies leave no blank before it.
    columns = [line[:16], line[16:32], line[32:37], line[37:53]]
    numbers = _floats(columns) or _floats(line.split()[:4])
    if numbers is None:
        raise ValueError("the head of the DOSCAR cannot be read")
    highest, lowest, count, fermi_level = numbers
    if not all(map(math.isfinite, (highest, lowest, fermi_level))):
        raise ValueError("an energy in the head of the DOSCAR is not finite")
    if not (1 < count <= _MAX_NUM_ENERGIES and count.is_integer()):
        raise ValueError(f"the DOSCAR has an impossible number of energies: {count:g}")
    return highest, lowest, int(count), fermi_level


def _floats(words: Sequence[bytes]) -> list[float] | None:
    try:
        return [float(word) for word in words] if len(words) == 4 else None
    except ValueError:
        return None


def _even_energies(
    rounded_ev: NDArray[np.float64], lowest_ev: float, highest_ev: float
) -> NDArray[np.float64]:
    """Return the energies to more decimals than the rows have, which may repeat a dense one."""
    exact_ev = np.linspace(lowest_ev, highest_ev, len(rounded_ev))
    if not np.allclose(rounded_ev, exact_ev, rtol=0, atol=_ENERGY_TOLERANCE_EV):
        raise ValueError("the energies of the DOSCAR are not those of its head")
    return exact_ev
