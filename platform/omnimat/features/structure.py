"""Crystal graphs: periodic k-nearest-neighbour edges and the infinite sums of every atom pair."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from pymatgen.optimization.neighbors import find_points_in_spheres

from omnimat.features.lattice_sums import PauliScaling, lattice_sums
from omnimat.features.layout import Arrays, Field
from omnimat.materials.record import Modality, Record, Structure
from omnimat.materials.settings import Settings

Float = NDArray[np.float64]
Int = NDArray[np.int64]

EDGE_FIELDS = (
    Field("atomic_numbers", "int32", axis="atom"),
    Field("edge_sources", "int32", axis="edge", counted_from="atom"),
    Field("edge_targets", "int32", axis="edge", counted_from="atom"),
    Field("edge_vectors_angstrom", "float32", (3,), axis="edge"),
)
PAIR_FIELD = Field("pair_potentials", "float32", (3,), axis="pair")

# Equal by symmetry: coordinates in CIF files are rounded to about this length.
_TIE_ANGSTROM = 1e-3
_COINCIDENT_ANGSTROM = 1e-3
_RADIUS_GROWTH = 1.25
_LARGEST_ATOMIC_NUMBER = 118


class CrystalGraph(Settings):
    """Edges of a crystal as PotNet takes them.

    An atom is joined to every periodic image no farther than its ``max_neighbors``-th nearest one
    (images as far as that one are all kept, images of itself too). With ``clean`` edges, the graph
    holds each found edge and its reverse once. With ``reference`` edges, both directions are added
    for each end that finds the edge, as the published graphs do, so most edges come twice.

    Attributes:
        cutoff_angstrom: first search radius; it grows until each atom has ``max_neighbors``.
        max_neighbors: neighbours an atom has at least.
        edge_mode: how often an edge found from both ends is counted.
        lattice_sums: whether to add ``pair_potentials``, see ``features/lattice_sums.py``.
        pauli_decay_per_angstrom: of the lattice sums.
        pauli_scaling: of the lattice sums.
    """

    modality: ClassVar[Modality] = "structure"

    type: Literal["crystal_graph"] = "crystal_graph"
    cutoff_angstrom: PositiveFloat = 4.0
    max_neighbors: PositiveInt = 16
    edge_mode: Literal["clean", "reference"] = "clean"
    lattice_sums: bool = True
    pauli_decay_per_angstrom: PositiveFloat = 3.0
    pauli_scaling: PauliScaling = "exact"

    @property
    def fields(self) -> tuple[Field, ...]:
        """Atoms, directed edges and, with ``lattice_sums``, atom pairs i <= j."""
        return (*EDGE_FIELDS, PAIR_FIELD) if self.lattice_sums else EDGE_FIELDS

    def __call__(self, record: Record) -> Arrays:
        """Give the graph; edge vectors point from the source to the image of the target.

        Raises:
            ValueError: no atoms, an unknown element, coinciding atoms or a cell without volume.
        """
        structure = record.structure
        _check(structure)
        sources, targets, images = _directed(*self._neighbors(structure), self.edge_mode)
        steps = structure.frac_coords[targets] + images - structure.frac_coords[sources]
        arrays: Arrays = {
            "atomic_numbers": structure.atomic_numbers.astype(np.int32),
            "edge_sources": sources.astype(np.int32),
            "edge_targets": targets.astype(np.int32),
            "edge_vectors_angstrom": (steps @ structure.lattice_angstrom).astype(np.float32),
        }
        if self.lattice_sums:
            arrays["pair_potentials"] = lattice_sums(
                structure.lattice_angstrom,
                structure.frac_coords,
                self.pauli_decay_per_angstrom,
                self.pauli_scaling,
            ).astype(np.float32)
        return arrays

    def _neighbors(self, structure: Structure) -> tuple[Int, Int, Int]:
        """Find the k nearest images of each atom, ties kept: centres, neighbours, images (n, 3)."""
        num_atoms = len(structure.atomic_numbers)
        radius = self.cutoff_angstrom
        while True:
            centers, neighbors, images, distances = _within(structure, radius + _TIE_ANGSTROM)
            counts = np.bincount(centers[distances <= radius], minlength=num_atoms)
            if counts.min() >= self.max_neighbors:
                break
            radius *= _RADIUS_GROWTH
        order = np.lexsort((distances, centers))
        firsts = np.searchsorted(centers[order], np.arange(num_atoms))
        farthest = distances[order][firsts + self.max_neighbors - 1] + _TIE_ANGSTROM
        kept = distances <= farthest[centers]
        return centers[kept], neighbors[kept], images[kept]


def _check(structure: Structure) -> None:
    numbers = structure.atomic_numbers
    if len(numbers) == 0:
        raise ValueError("the structure has no atoms")
    if numbers.min() < 1 or numbers.max() > _LARGEST_ATOMIC_NUMBER:
        raise ValueError("an atomic number is not of a known element")
    lattice = structure.lattice_angstrom
    if not np.isfinite(lattice).all() or abs(np.linalg.det(lattice)) < 1e-6:
        raise ValueError("the cell has no volume")
    if not np.isfinite(structure.frac_coords).all():
        raise ValueError("a coordinate is not finite")


def _within(structure: Structure, radius: float) -> tuple[Int, Int, Int, Float]:
    """All (atom, image of an atom) no farther apart than the radius, without the atom itself."""
    lattice = np.ascontiguousarray(structure.lattice_angstrom, dtype=np.float64)
    positions = np.ascontiguousarray(structure.frac_coords @ lattice)
    centers, neighbors, images, distances = find_points_in_spheres(
        positions, positions, r=radius, pbc=np.ones(3, dtype=np.int64), lattice=lattice
    )
    others = (centers != neighbors) | (distances > _COINCIDENT_ANGSTROM)
    if (distances[others] < _COINCIDENT_ANGSTROM).any():
        raise ValueError("two atoms coincide")
    images = np.rint(images[others]).astype(np.int64)
    return centers[others], neighbors[others], images, distances[others]


def _directed(
    centers: Int, neighbors: Int, images: Int, edge_mode: Literal["clean", "reference"]
) -> tuple[Int, Int, Int]:
    """Add the reverse of each edge, sorted by source, target and image."""
    sources = np.concatenate([centers, neighbors])
    targets = np.concatenate([neighbors, centers])
    steps = np.concatenate([images, -images])
    reach = int(np.abs(images).max()) + 1
    shape = (sources.max() + 1, sources.max() + 1, *(2 * reach,) * 3)
    key = np.ravel_multi_index((sources, targets, *(steps + reach).T), shape)
    if edge_mode == "clean":
        order = np.unique(key, return_index=True)[1]
    else:
        order = np.argsort(key, kind="stable")
    return sources[order], targets[order], steps[order]
