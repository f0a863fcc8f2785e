"""Finds the periodic neighbours of atoms within a radius, and makes edges of them."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.record import Structure

Float = NDArray[np.float64]
Int = NDArray[np.int64]
EdgeMode = Literal["clean", "reference"]

# Distances this close count as equal by symmetry: CIF files round coordinates to about this length.
TIE_ANGSTROM = 1e-3
_COINCIDENT_ANGSTROM = 1e-3
_ANGSTROM3_PER_ATOM = 15.0
# Of an atom, a search usually finds some dozens. A pair takes about 200 bytes.
_MAX_PAIRS_PER_ATOM = 5000
_MAX_PAIRS = 8_000_000


class Neighbors(NamedTuple):
    """Pairs of an atom and a periodic image of an atom.

    Attributes:
        centers: index of the first atom of each pair, shape (n,).
        neighbors: index of the atom that it is joined to, shape (n,).
        images: cell of the neighbour's image relative to that of the first atom, shape (n, 3).
        distances: distance of each pair in angstrom, shape (n,).
    """

    centers: Int
    neighbors: Int
    images: Int
    distances: Float

    def where(self, kept: NDArray[np.bool_] | Int) -> Neighbors:
        """Return the pairs at these places, or where a mask is true."""
        centers, neighbors, images, distances = self
        return Neighbors(centers[kept], neighbors[kept], images[kept], distances[kept])

    def vectors_angstrom(self, structure: Structure) -> Float:
        """Return the vectors from the atoms to their neighbours in angstrom, shape (n, 3)."""
        fractional = structure.frac_coords
        steps = fractional[self.neighbors] + self.images - fractional[self.centers]
        vectors: Float = steps @ structure.lattice_angstrom
        return vectors


def within(structure: Structure, radius: float) -> Neighbors:
    """Find all neighbours within the radius, including images of the atom itself."""
    from pymatgen.optimization.neighbors import (
        find_points_in_spheres,  # trainers need no neighbours
    )

    _check_number(structure, radius)
    lattice = np.ascontiguousarray(structure.lattice_angstrom, dtype=np.float64)
    positions = np.ascontiguousarray(structure.frac_coords @ lattice)
    centers, neighbors, images, distances = find_points_in_spheres(
        positions, positions, r=radius, pbc=np.ones(3, dtype=np.int64), lattice=lattice
    )
    others = (centers != neighbors) | (distances > _COINCIDENT_ANGSTROM)
    if (distances[others] < _COINCIDENT_ANGSTROM).any():
        raise ValueError("two atoms coincide")
    found = Neighbors(centers, neighbors, np.rint(images).astype(np.int64), distances)
    return found.where(others)


def _check_number(structure: Structure, radius: float) -> None:
    """Refuse a search that would fill the memory: a wide one, or one in a large and dense cell."""
    num_atoms = len(structure.atomic_numbers)
    allowed = min(_MAX_PAIRS_PER_ATOM * num_atoms, _MAX_PAIRS)
    volume = abs(float(np.linalg.det(structure.lattice_angstrom)))
    if radius > math.cbrt(allowed * volume / (4 / 3 * math.pi * num_atoms**2)):
        raise ValueError(
            f"too many neighbours: about {allowed} pairs of atoms or more are within "
            f"{radius:.4g} angstrom"
        )


def nearest(found: Neighbors, max_neighbors: int, num_atoms: int) -> Neighbors:
    """Keep the nearest neighbours of each atom, with ties; atoms with fewer keep all they have."""
    counts = np.bincount(found.centers, minlength=num_atoms)
    lasts = np.cumsum(counts) - counts + max_neighbors - 1
    ranked = found.distances[np.lexsort((found.distances, found.centers))]
    farthest = np.full(num_atoms, np.inf)
    enough = counts >= max_neighbors
    farthest[enough] = ranked[lasts[enough]] + TIE_ANGSTROM
    return found.where(found.distances <= farthest[found.centers])


def directed(found: Neighbors, edge_mode: EdgeMode) -> tuple[Int, Int, Int]:
    """Add the reverse of each edge and sort the edges by source, target and image."""
    sources = np.concatenate([found.centers, found.neighbors])
    targets = np.concatenate([found.neighbors, found.centers])
    steps = np.concatenate([found.images, -found.images])
    reach = int(np.abs(steps).max(initial=0)) + 1
    num_atoms = int(sources.max(initial=0)) + 1
    key = np.ravel_multi_index(
        (sources, targets, *(steps + reach).T), (num_atoms, num_atoms, *(2 * reach,) * 3)
    )
    if edge_mode == "clean":
        order = np.unique(key, return_index=True)[1]
    else:
        order = np.argsort(key, kind="stable")
    return sources[order], targets[order], steps[order]


def number_within(radius_angstrom: float) -> int:
    """Count the atoms in a sphere where each takes the volume that it takes in most solids."""
    return math.ceil(4 / 3 * math.pi * radius_angstrom**3 / _ANGSTROM3_PER_ATOM)
