"""One-hot features of the elements as in CGCNN (Xie and Grossman, PRL 120, 145301, supplement).

The 92 columns are group (18), period (7), f-block (1), Pauling electronegativity (10), covalent
radius (10), valence electrons (12), log first ionisation energy (10), electron affinity (10), block
(4) and log molar volume (10). The published table is based on other data than pymatgen's, so a few
elements fall into a neighbouring bin here.
"""

from __future__ import annotations

import functools
import re
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pymatgen.core import Element

MAX_ATOMIC_NUMBER = 118
NUM_ELEMENT_FEATURES = 92
# A line of zeros and ones for each atomic number from 0 on. So trainers need no pymatgen, and what
# a new model sees does not depend on its version.
TABLE = "elements.txt"

_SUBSHELL = re.compile(r"\d([spdf])(\d+)")


@functools.cache
def element_table() -> NDArray[np.float32]:
    """Read the features of all elements, as ``tabulated`` gave them once.

    Returns:
        A table of zeros and ones, shape (119, 92). Row Z describes the element with atomic number
        Z, and row 0 is zero. The columns of an unknown property are zero.
    """
    lines = resources.files(__package__).joinpath(TABLE).read_text(encoding="ascii").split()
    table = np.array([list(line) for line in lines], dtype=np.float32)
    table.flags.writeable = False
    return table


def tabulated() -> NDArray[np.float32]:
    """Make the same table from pymatgen's data."""
    from pymatgen.core import Element  # 0.3 s of import

    rows = [_element_row(Element.from_Z(z)) for z in range(1, MAX_ATOMIC_NUMBER + 1)]
    return np.stack([np.zeros(NUM_ELEMENT_FEATURES, np.float32), *rows])


def _element_row(element: Element) -> NDArray[np.float32]:
    from pymatgen.core.molecule_structure_comparator import CovalentRadius  # imports matplotlib

    radius_angstrom = CovalentRadius.radius.get(element.symbol)
    ionisation_ev = (element.data.get("Ionization energies") or [None])[0]
    return np.concatenate(
        [
            _one_hot(element.group - 1, 18),
            _one_hot(element.row - 1, 7),
            np.array([element.block == "f"], np.float32),
            _binned(element.data.get("X"), 0.5, 4.0),
            _binned(radius_angstrom and 100 * radius_angstrom, 25, 250),
            _valence_columns(_num_valence_electrons(element)),
            _binned(ionisation_ev and np.log(ionisation_ev), 1.3, 3.3),
            _binned(element.data.get("Electron affinity"), -3.0, 3.7),
            _one_hot("spdf".index(_block(element)), 4),
            _binned(_log_molar_volume(element), 1.5, 4.3),
        ]
    )


def _one_hot(position: int, width: int) -> NDArray[np.float32]:
    row = np.zeros(width, np.float32)
    if 0 <= position < width:
        row[position] = 1
    return row


def _binned(
    value: float | None, low: float, high: float, num_bins: int = 10
) -> NDArray[np.float32]:
    if value is None:
        return np.zeros(num_bins, np.float32)
    position = int((value - low) / (high - low) * num_bins)
    return _one_hot(min(max(position, 0), num_bins - 1), num_bins)


def _valence_columns(num_electrons: int) -> NDArray[np.float32]:
    # The late f elements have more than 12 and start again from the first column. If they shared
    # the last column, Dy, Ho and Er would have the same row.
    return _one_hot((num_electrons - 1) % 12 if num_electrons else -1, 12)


def _block(element: Element) -> str:
    # pymatgen assigns helium to the p block for its place in the table, but its electrons are s.
    return "s" if element.Z == 2 else str(element.block)


def _log_molar_volume(element: Element) -> float | None:
    volume_cm3_per_mol = element.data.get("Molar volume")
    return float(np.log(volume_cm3_per_mol)) if volume_cm3_per_mol else None


def _num_valence_electrons(element: Element) -> int:
    """Count the electrons outside the noble-gas core and closed inner shells; 0 if unknown."""
    configuration = (element.data.get("Electronic structure") or {}).get("0", "")
    subshells = [(kind, int(number)) for kind, number in _SUBSHELL.findall(configuration)]
    has_p = any(kind == "p" for kind, _ in subshells)
    closed = {("f", 14), ("d", 10)} if has_p else {("f", 14)}
    return sum(number for kind, number in subshells if (kind, number) not in closed)
