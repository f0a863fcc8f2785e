"""Crystal graphs: edges to periodic neighbours, and the lattice sums of every pair of atoms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt, model_validator

from omnimat.materials.record import Record, Structure
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field
from omnimat.modalities.structure.ewald import PauliScaling, pauli_decay

Float = NDArray[np.float64]
Int = NDArray[np.int64]

EDGE_FIELDS = (
    Field("atomic_numbers", "int32", axis="atom"),
    Field("edge_sources", "int32", axis="edge", counted_from="atom"),
    Field("edge_targets", "int32", axis="edge", counted_from="atom", joins="edge_sources"),
    Field("edge_vectors_angstrom", "float32", (3,), axis="edge"),
)

LatticeSums = Literal["featurized", "in_encoder", "none"]
# An encoder that computes the sums itself gets the full precision of the record, because an error
# of 1e-6 angstrom would show in the sums.
LATTICE_SUM_FIELDS: Mapping[LatticeSums, tuple[Field, ...]] = MappingProxyType(
    {
        "featurized": (Field("pair_potentials", "float32", (3,), axis="pair"),),
        "in_encoder": (
            Field("lattice_angstrom", "float64", (3, 3)),
            Field("frac_coords", "float64", (3,), axis="atom"),
            Field("pauli_decay_per_angstrom", "float64"),
        ),
        "none": (),
    }
)

LATTICE_FIELD = Field("reduced_lattice_angstrom", "float32", (3, 3))

# Distances this close count as equal by symmetry: CIF files round coordinates to about this length.
_TIE_ANGSTROM = 1e-3
_COINCIDENT_ANGSTROM = 1e-3
_RADIUS_GROWTH = 1.25
_ANGSTROM3_PER_ATOM = 15.0
_LARGEST_ATOMIC_NUMBER = 118
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

    def where(self, kept: NDArray[np.bool_]) -> Neighbors:
        """Return the pairs at which the mask is true."""
        centers, neighbors, images, distances = self
        return Neighbors(centers[kept], neighbors[kept], images[kept], distances[kept])


class CrystalGraph(FeaturizerSettings):
    """The graph of a crystal, as the structure encoders take it.

    Each atom is joined to every periodic image, including its own, that is no farther than its
    ``max_neighbors``-th nearest one; images at the same distance as that one are all kept. With
    ``within_cutoff``, only images within ``cutoff_angstrom`` count. With ``clean`` edges, the graph
    holds each edge that was found and its reverse once. With ``reference`` edges, both directions
    are added for each end that finds the edge, as in PotNet's published graphs, so most edges
    appear twice.

    Attributes:
        neighbors: how neighbours are found. ``nearest`` finds ``max_neighbors`` however far away
            they are; ``within_cutoff`` never looks beyond the cutoff, so an atom may have fewer
            neighbours or none.
        cutoff_angstrom: search radius. For ``nearest`` it is the first radius, which grows as
            needed.
        max_neighbors: number of neighbours that each atom looks for; None takes all within the
            cutoff.
        edge_mode: how often an edge counts that is found from both ends.
        lattice_sums: where the infinite sums of pair potentials (see ``ewald.py``) are computed.
            ``featurized`` computes them here; ``in_encoder`` passes on what an encoder needs to
            compute them on its own device; ``none`` leaves them out.
        pauli_decay_per_angstrom: decay of the Pauli term, wherever the sums are computed.
        pauli_scaling: how this decay depends on the cell, see ``ewald.pauli_decay``.
        reduced_lattice: whether the graph holds the shortest lattice vectors, from the shortest to
            the longest (Minkowski's reduction), for encoders that are told the lattice. They are
            those of the cell that the record gives: a repeated cell has others.
        max_atoms: largest number of atoms N for which lattice sums are taken, since there are
            N (N + 1) / 2 of them; a larger crystal is refused. Without sums there is no limit.
    """

    modality: ClassVar[str] = "structure"
    index_columns: ClassVar[tuple[str, ...]] = ("has_structure",)

    type: Literal["crystal_graph"] = "crystal_graph"
    neighbors: Literal["nearest", "within_cutoff"] = "nearest"
    cutoff_angstrom: PositiveFloat = 4.0
    max_neighbors: PositiveInt | None = 16
    edge_mode: Literal["clean", "reference"] = "clean"
    lattice_sums: LatticeSums = "featurized"
    pauli_decay_per_angstrom: PositiveFloat = 3.0
    pauli_scaling: PauliScaling = "exact"
    reduced_lattice: bool = False
    max_atoms: PositiveInt = 5000

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.neighbors == "nearest" and self.max_neighbors is None:
            raise ValueError("max_neighbors: null needs neighbors: within_cutoff")
        return self

    @property
    def fields(self) -> tuple[Field, ...]:
        """Fields of the atoms and directed edges, and those of lattice and sums if asked for."""
        lattice = (LATTICE_FIELD,) if self.reduced_lattice else ()
        return EDGE_FIELDS + lattice + LATTICE_SUM_FIELDS[self.lattice_sums]

    def num_edges(self, num_atoms: Int) -> Int:
        """Say about how many edges crystals of so many atoms have, shape (n,).

        Each atom counts for the neighbours that it looks for, though ties and the reverses of edges
        add some; with lattice sums every ordered pair of atoms is one more edge.
        """
        per_atom = self.max_neighbors or _neighbors_within(self.cutoff_angstrom)
        if self.edge_mode == "reference":
            per_atom *= 2
        return num_atoms * (per_atom + (num_atoms if self.lattice_sums != "none" else 0))

    def __call__(self, record: Record) -> Arrays | None:
        """Return the graph, or None where the record has no structure.

        Edge vectors point from the source to the image of the target.

        Raises:
            ValueError: the structure has no atoms, an unknown element, coinciding atoms, a
                coordinate that is not finite, a cell without volume, or too many atoms.
        """
        return None if record.structure is None else self.of_structure(record.structure)

    def of_structure(self, structure: Structure) -> Arrays:
        """Return the graph of a structure, with the same errors as for a record."""
        _check(structure)
        self._check_size(structure)
        sources, targets, images = _directed(self._neighbors(structure), self.edge_mode)
        steps = structure.frac_coords[targets] + images - structure.frac_coords[sources]
        arrays: Arrays = {
            "atomic_numbers": structure.atomic_numbers.astype(np.int32),
            "edge_sources": sources.astype(np.int32),
            "edge_targets": targets.astype(np.int32),
            "edge_vectors_angstrom": (steps @ structure.lattice_angstrom).astype(np.float32),
        }
        if self.reduced_lattice:
            from ase.geometry import minkowski_reduce  # trainers reduce no lattice

            reduced, _ = minkowski_reduce(structure.lattice_angstrom)
            arrays[LATTICE_FIELD.name] = reduced.astype(np.float32)
        return arrays | self._for_lattice_sums(structure)

    def _check_size(self, structure: Structure) -> None:
        num_atoms = len(structure.atomic_numbers)
        if self.lattice_sums != "none" and num_atoms > self.max_atoms:
            raise ValueError(
                f"too large for lattice sums: {num_atoms} atoms, max_atoms is {self.max_atoms}"
            )

    def _for_lattice_sums(self, structure: Structure) -> Arrays:
        """Return the sums of all atom pairs i <= j, or the inputs to compute them, or nothing."""
        lattice, fractional = structure.lattice_angstrom, structure.frac_coords
        alpha, scaling = self.pauli_decay_per_angstrom, self.pauli_scaling
        if self.lattice_sums == "featurized":
            from omnimat.modalities.structure.lattice_sums import lattice_sums  # scipy.special

            sums = lattice_sums(lattice, fractional, alpha, scaling)
            return {"pair_potentials": sums.astype(np.float32)}
        if self.lattice_sums == "in_encoder":
            decay = pauli_decay(alpha, scaling, abs(float(np.linalg.det(lattice))))
            return {
                "lattice_angstrom": np.array(lattice, dtype=np.float64),
                "frac_coords": np.array(fractional, dtype=np.float64),
                "pauli_decay_per_angstrom": np.array(decay),
            }
        return {}

    def _neighbors(self, structure: Structure) -> Neighbors:
        """Find the periodic neighbours of each atom."""
        if self.max_neighbors is None:
            return _within(structure, self.cutoff_angstrom + _TIE_ANGSTROM)
        num_atoms, radius = len(structure.atomic_numbers), self.cutoff_angstrom
        while True:
            found = _within(structure, radius + _TIE_ANGSTROM)
            counts = np.bincount(found.centers[found.distances <= radius], minlength=num_atoms)
            if self.neighbors == "within_cutoff" or counts.min() >= self.max_neighbors:
                return _nearest(found, self.max_neighbors, num_atoms)
            radius *= _RADIUS_GROWTH


def _neighbors_within(radius_angstrom: float) -> int:
    """Count the atoms in a sphere where each takes the volume that it takes in most solids."""
    return math.ceil(4 / 3 * math.pi * radius_angstrom**3 / _ANGSTROM3_PER_ATOM)


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


def _within(structure: Structure, radius: float) -> Neighbors:
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


def _nearest(found: Neighbors, max_neighbors: int, num_atoms: int) -> Neighbors:
    """Keep the nearest neighbours of each atom, with ties; atoms with fewer keep all they have."""
    counts = np.bincount(found.centers, minlength=num_atoms)
    lasts = np.cumsum(counts) - counts + max_neighbors - 1
    ranked = found.distances[np.lexsort((found.distances, found.centers))]
    farthest = np.full(num_atoms, np.inf)
    enough = counts >= max_neighbors
    farthest[enough] = ranked[lasts[enough]] + _TIE_ANGSTROM
    return found.where(found.distances <= farthest[found.centers])


def _directed(found: Neighbors, edge_mode: Literal["clean", "reference"]) -> tuple[Int, Int, Int]:
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
