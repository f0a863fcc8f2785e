"""Space groups in their primitive cells: operations, points of any site symmetry, lattices.

Nothing here is a table of Wyckoff positions. All of them pass through points of a grid of 24 steps
along each axis. So such a point is drawn, and moved as its own site symmetry lets it move.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.crystals import crystal_system

if TYPE_CHECKING:
    from spglib import SpaceGroupType

Float = NDArray[np.float64]
Integer = NDArray[np.int64]

GRID = 24
"""Steps of the grid through which all Wyckoff positions pass."""
_STRIDES = np.array([12, 6, 4, 3, 2, 1])
_NUM_HALL_SYMBOLS = 530
_HALF = 0.5
_THIRD = 1 / 3
# Rows are the vectors of a primitive cell in those of the conventional one.
_PRIMITIVE = MappingProxyType(
    {
        "P": np.eye(3),
        "A": np.array([[1, 0, 0], [0, _HALF, _HALF], [0, -_HALF, _HALF]]),
        "C": np.array([[_HALF, _HALF, 0], [-_HALF, _HALF, 0], [0, 0, 1]]),
        "I": np.array([[-_HALF, _HALF, _HALF], [_HALF, -_HALF, _HALF], [_HALF, _HALF, -_HALF]]),
        "F": np.array([[0, _HALF, _HALF], [_HALF, 0, _HALF], [_HALF, _HALF, 0]]),
        "R": np.array(
            [
                [2 * _THIRD, _THIRD, _THIRD],
                [-_THIRD, _THIRD, _THIRD],
                [-_THIRD, -2 * _THIRD, _THIRD],
            ]
        ),
    }
)
_LOG_LENGTH_SPREAD = 0.4  # of the axes of real crystals, about their mean
_MONOCLINIC_DEGREE = (92.0, 125.0)
_TRICLINIC_DEGREE = (70.0, 115.0)
_LEAST_ROOT = 0.35  # of the volume over the product of the lengths: flatter cells are drawn again


@dataclass(frozen=True, slots=True)
class SpaceGroup:
    """A space group, in fractional coordinates of its primitive cell.

    Attributes:
        number: from 1 to 230.
        family: its crystal family; trigonal counts as hexagonal.
        primitive: vectors of the primitive cell in those of the conventional one, shape (3, 3).
        rotations: matrices that act on columns, shape (n, 3, 3).
        shifts: translations in steps of the grid, shape (n, 3).
    """

    number: int
    family: str
    primitive: Float
    rotations: Integer
    shifts: Integer

    def drawn_point(self, generator: np.random.Generator) -> Float:
        """Draw a point, which often has a site symmetry, shape (3,)."""
        stride = generator.choice(_STRIDES)
        start = stride * generator.integers(GRID // stride, size=3)
        moved = self.rotations @ start + self.shifts - start
        stabilizer = self.rotations[(moved % GRID == 0).all(axis=1)]
        point: Float = start / GRID + stabilizer.mean(axis=0) @ generator.uniform(-0.5, 0.5, 3)
        return point

    def orbit(self, point: Float) -> Float:
        """Return the distinct images of a point in the cell, shape (m, 3), the point's first."""
        images = np.mod(self.rotations @ point + self.shifts / GRID, 1.0)
        apart = images[:, None] - images
        is_same = (np.abs(apart - np.rint(apart)) < 1e-6).all(axis=2)
        distinct: Float = images[is_same.argmax(axis=1) == np.arange(len(images))]
        return distinct

    def drawn_lattice(self, volume_angstrom3: float, generator: np.random.Generator) -> Float:
        """Draw a primitive cell of this volume, rows are its vectors, shape (3, 3)."""
        conventional = _drawn_shape(self.family, generator)
        lattice = self.primitive @ conventional
        scaled: Float = lattice * np.cbrt(volume_angstrom3 / abs(np.linalg.det(lattice)))
        return scaled


@cache
def space_group(number: int) -> SpaceGroup:
    """Return a space group in the first setting that spglib lists."""
    import spglib

    setting = _settings()[number]
    found = spglib.get_symmetry_from_database(setting.hall_number)
    assert found is not None
    primitive = _PRIMITIVE[setting.international_short[0]]
    change = primitive.T
    inverse = np.linalg.inv(change)
    rotations = np.rint(inverse @ found["rotations"] @ change).astype(np.int64)
    shifts = np.rint(GRID * (found["translations"] @ inverse.T)).astype(np.int64) % GRID
    # The centring repeats each rotation, with a translation that is a whole one in this cell.
    _, first = np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)
    kept = np.sort(first)
    return SpaceGroup(number, family_of(number), primitive, rotations[kept], shifts[kept])


@cache
def families() -> dict[str, tuple[int, ...]]:
    """Return the numbers of the space groups of each crystal family."""
    found: dict[str, list[int]] = {}
    for number in range(1, 231):
        found.setdefault(family_of(number), []).append(number)
    return {family: tuple(numbers) for family, numbers in found.items()}


def family_of(number: int) -> str:
    """Return the crystal family of a space group."""
    system = crystal_system(number)
    return "hexagonal" if system == "trigonal" else system


@cache
def _settings() -> dict[int, SpaceGroupType]:
    """Return the first setting of each space group."""
    import spglib

    first: dict[int, SpaceGroupType] = {}
    for hall in map(spglib.get_spacegroup_type, range(1, _NUM_HALL_SYMBOLS + 1)):
        assert hall is not None
        first.setdefault(hall.number, hall)
    return first


def _drawn_shape(family: str, generator: np.random.Generator) -> Float:
    """Draw a conventional cell of a family, of any volume."""
    a, b, c = np.exp(_LOG_LENGTH_SPREAD * generator.standard_normal(3))
    if family == "cubic":
        return np.eye(3)
    if family in {"tetragonal", "hexagonal"}:
        cell = np.diag([a, a, c])
        if family == "hexagonal":
            cell[1] = [-a / 2, a * np.sqrt(3) / 2, 0]
        return cell
    if family == "orthorhombic":
        return np.diag([a, b, c])
    angles = _drawn_angles(family, generator)
    slanted: Float = np.diag([a, b, c]) @ np.linalg.cholesky(_cosines(angles))
    return slanted


def _drawn_angles(family: str, generator: np.random.Generator) -> Float:
    """Draw alpha, beta and gamma in degrees, shape (3,)."""
    if family == "monoclinic":
        return np.array([90.0, generator.uniform(*_MONOCLINIC_DEGREE), 90.0])
    while True:
        angles = generator.uniform(*_TRICLINIC_DEGREE, 3)
        if np.linalg.det(_cosines(angles)) > _LEAST_ROOT**2:
            return angles


def _cosines(angles_degree: Float) -> Float:
    """Return the metric of a cell of lengths 1, shape (3, 3)."""
    alpha, beta, gamma = np.cos(np.radians(angles_degree))
    return np.array([[1, gamma, beta], [gamma, 1, alpha], [beta, alpha, 1]])
