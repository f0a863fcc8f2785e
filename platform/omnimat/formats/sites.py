"""Checks a cell and its atoms before any library works on them, which some numbers would crash."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.validation import MAX_ATOMIC_NUMBER, MIN_VOLUME_ANGSTROM3

# Beyond any crystal, and far below where products of three numbers overflow.
_MAX_ANGSTROM = 1e6


def numbers_of(value: Any, shape: tuple[int, ...], what: str) -> NDArray[np.float64]:
    """Make an array of what a file holds; -1 in ``shape`` stands for any length.

    Raises:
        ValueError: it is not a regular array of finite numbers of this shape.
    """
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"no numbers: its {what} cannot be read as numbers") from error
    if not _fits(array.shape, shape):
        raise ValueError(f"wrong counts: its {what} has the shape {array.shape}, not {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"not finite: its {what} holds NaN or infinity")
    return array


def _fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if len(shape) != len(wanted):
        return False
    return all(want in (-1, size) for want, size in zip(wanted, shape, strict=True))


def check_cell(lattice_angstrom: NDArray[np.float64]) -> None:
    """Check that three vectors span a cell.

    Args:
        lattice_angstrom: cell with rows a, b and c, shape (3, 3); it may be left-handed.

    Raises:
        ValueError: they do not; the message says why.
    """
    numbers_of(lattice_angstrom, (3, 3), "cell")
    if not lattice_angstrom.any(axis=1).all():
        raise ValueError("no cell: a lattice vector is missing or zero")
    if np.abs(lattice_angstrom).max() > _MAX_ANGSTROM:
        raise ValueError(f"too large: its cell has numbers above {_MAX_ANGSTROM:g} angstrom")
    if abs(float(np.linalg.det(lattice_angstrom))) < MIN_VOLUME_ANGSTROM3:
        raise ValueError("flat cell: its lattice vectors lie in a plane, or almost")


def check_atoms(atomic_numbers: NDArray[Any], coordinates: NDArray[np.float64]) -> None:
    """Check atomic numbers, shape (n,), and coordinates of any kind, shape (n, 3).

    Raises:
        ValueError: there are no atoms, or some of them are none; the message says why.
    """
    if atomic_numbers.size == 0:
        raise ValueError("no atoms: the cell is empty")
    numbers_of(coordinates, (atomic_numbers.size, 3), "coordinates")
    if np.abs(coordinates).max() > _MAX_ANGSTROM:
        raise ValueError(f"too large: its coordinates have numbers above {_MAX_ANGSTROM:g}")
    known = np.isin(atomic_numbers, np.arange(1, MAX_ATOMIC_NUMBER + 1))
    if not known.all():
        number = atomic_numbers[~known][0]
        raise ValueError(f"dummy atom: no element has the atomic number {number:g}")


def check_periodic(pbc: Iterable[Any]) -> None:
    """Check that a cell is repeated along its three axes, each of which has a truth value.

    Raises:
        ValueError: it is not, as that of a molecule or a slab.
    """
    if [axis == 1 for axis in pbc] != [True] * 3:
        raise ValueError("no cell: it is not repeated along all three axes")
