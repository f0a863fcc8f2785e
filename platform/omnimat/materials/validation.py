"""Checks whether a structure may be stored; a ``ValueError`` says why if it may not."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.record import Structure

MIN_DISTANCE_ANGSTROM = 0.5
MIN_VOLUME_ANGSTROM3 = 1e-3
# A thousand times the longest cells of real crystals; libraries fail on absurd ones.
MAX_LENGTH_ANGSTROM = 1e6
MAX_ATOMIC_NUMBER = 118
# Limits the work on absurd cells; a real one needs a few dozen images.
_MAX_IMAGES = 10_000
_PAIRS_PER_BLOCK = 2**18


def validate(structure: Structure) -> None:
    """Check a structure: array shapes, numbers, cell and distances.

    Raises:
        ValueError: the structure must not be stored; the message says why.
    """
    check_arrays(structure)
    distance = shortest_distance_angstrom(structure, MIN_DISTANCE_ANGSTROM)
    if distance < MIN_DISTANCE_ANGSTROM:
        raise ValueError(
            f"overlapping atoms: {distance:.3f} angstrom apart, less than {MIN_DISTANCE_ANGSTROM}"
        )


def check_arrays(structure: Structure) -> None:
    """Check shapes, finiteness, atomic numbers and the cell's volume, but no distances.

    Raises:
        ValueError: something is wrong; the message says what.
    """
    lattice, numbers = structure.lattice_angstrom, structure.atomic_numbers
    if lattice.shape != (3, 3):
        raise ValueError(f"lattice has shape {lattice.shape} instead of (3, 3)")
    if numbers.ndim != 1 or structure.frac_coords.shape != (numbers.size, 3):
        raise ValueError(
            f"lengths differ: atomic numbers {numbers.shape}, "
            f"fractional coordinates {structure.frac_coords.shape}"
        )
    if numbers.size == 0:
        raise ValueError("empty cell: no atoms")
    if not (np.isfinite(lattice).all() and np.isfinite(structure.frac_coords).all()):
        raise ValueError("lattice or coordinates are not finite")
    if numbers.min() < 1 or numbers.max() > MAX_ATOMIC_NUMBER:
        raise ValueError(f"atomic number outside 1..{MAX_ATOMIC_NUMBER}")
    if (longest := float(np.abs(lattice).max())) > MAX_LENGTH_ANGSTROM:
        raise ValueError(f"impossible cell: a vector of it is {longest:g} angstrom long")
    # A left-handed cell describes a crystal as well as a right-handed one.
    if (volume := abs(float(np.linalg.det(lattice)))) < MIN_VOLUME_ANGSTROM3:
        raise ValueError(f"degenerate cell: its volume is {volume:g} angstrom^3")


def shortest_distance_angstrom(structure: Structure, cutoff_angstrom: float = math.inf) -> float:
    """Return the shortest periodic distance between two atoms, or an atom and its own image.

    With differences wrapped to [-1/2, 1/2), an image closer than the cutoff has
    ``|n_i| <= cutoff |b_i| + 1/2``, where ``b_i`` is a reciprocal vector without 2 pi. This holds
    even for a skewed cell, so no such image is missed.

    Args:
        structure: a structure that ``check_arrays`` accepts.
        cutoff_angstrom: how far to look, which never exceeds the largest possible distance.

    Returns:
        The distance, or infinity if it is not below the cutoff.

    Raises:
        ValueError: the cell is so flat that too many images would be needed.
    """
    cutoff_angstrom = min(cutoff_angstrom, 1.001 * _longest_possible_angstrom(structure))
    images = _images(structure.lattice_angstrom, cutoff_angstrom)
    coords, count = structure.frac_coords, structure.atomic_numbers.size
    is_home = ~images.any(axis=1)
    rows = max(1, _PAIRS_PER_BLOCK // (count * len(images)))
    shortest_squared = np.inf
    for start in range(0, count, rows):
        difference = coords[None, :] - coords[start : start + rows, None]
        difference -= np.floor(difference + 0.5)
        vectors = (difference[:, :, None] + images) @ structure.lattice_angstrom
        squared = np.einsum("ijkx,ijkx->ijk", vectors, vectors)
        own = np.arange(len(squared))
        squared[own, start + own] = np.where(is_home, np.inf, squared[own, start + own])
        shortest_squared = min(shortest_squared, float(squared.min()))
    distance = float(np.sqrt(shortest_squared))
    return distance if distance < cutoff_angstrom else np.inf


def _longest_possible_angstrom(structure: Structure) -> float:
    """Bound the shortest distance by an atom's own image and by the densest packing of spheres.

    Spheres that touch at a distance d have a density of at most sqrt(2) / d^3 atoms per volume.
    """
    lattice = structure.lattice_angstrom
    volume_per_atom = abs(float(np.linalg.det(lattice))) / structure.atomic_numbers.size
    shortest_edge = float(np.linalg.norm(lattice, axis=1).min())
    return min(shortest_edge, float(np.cbrt(math.sqrt(2) * volume_per_atom)))


def _images(lattice_angstrom: NDArray[np.float64], cutoff_angstrom: float) -> NDArray[np.float64]:
    """Return the lattice translations that can lead to a neighbour within the cutoff, (k, 3)."""
    reciprocal_lengths = np.linalg.norm(np.linalg.inv(lattice_angstrom), axis=0)
    # The margin keeps images that rounding would put just outside.
    reach = np.floor(cutoff_angstrom * reciprocal_lengths + 0.5 + 1e-9)
    if np.prod(2 * reach + 1) > _MAX_IMAGES:
        raise ValueError("the cell is too flat to be checked for overlapping atoms")
    axes = [np.arange(-n, n + 1) for n in reach]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
