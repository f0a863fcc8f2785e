"""Crystal graphs: edges to periodic neighbours, and the lattice sums of every pair of atoms."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from annotated_types import Ge, Lt
from pydantic import PositiveFloat, PositiveInt, model_validator

from omnimat.materials.record import Record, Structure
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field
from omnimat.modalities.structure.ewald import PauliScaling, pauli_decay
from omnimat.modalities.structure.multiplicity import site_multiplicity
from omnimat.modalities.structure.neighbors import (
    TIE_ANGSTROM,
    EdgeMode,
    Int,
    Neighbors,
    directed,
    nearest,
    number_within,
    within,
)
from omnimat.modalities.structure.voronoi import sharing_faces

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
MULTIPLICITY_FIELD = Field("site_multiplicity", "float32", axis="atom")

_RADIUS_GROWTH = 1.25
_LARGEST_ATOMIC_NUMBER = 118
# With the default of min_solid_angle_fraction, in MP-20.
_FACES_PER_ATOM = 10


class CrystalGraph(FeaturizerSettings):
    """The graph of a crystal, as the structure encoders take it.

    Each atom is joined to every periodic image, including its own, that is no farther than its
    ``max_neighbors``-th nearest one; images at the same distance as that one are all kept. With
    ``within_cutoff``, only images within ``cutoff_angstrom`` count. With ``voronoi``, an atom is
    joined to the images with which its Voronoi cell shares a face (see ``voronoi.py``), however far
    away; an encoder with a cutoff gives no weight to those beyond. With ``clean`` edges, the graph
    holds each edge that was found and its reverse once. With ``reference`` edges, both directions
    are added for each end that finds the edge, as in PotNet's published graphs, so most edges
    appear twice.

    Attributes:
        neighbors: how neighbours are found. ``nearest`` finds ``max_neighbors`` however far away
            they are; ``within_cutoff`` never looks beyond the cutoff, so an atom may have fewer
            neighbours or none; ``voronoi`` finds those across the faces of its Voronoi cell.
        cutoff_angstrom: search radius. For ``nearest`` it is the first radius, which grows as
            needed; for ``voronoi`` it makes no difference.
        max_neighbors: number of neighbours that each atom looks for; None takes all within the
            cutoff, or all across a face.
        min_solid_angle_fraction: solid angle under which an atom sees a face of its Voronoi cell,
            as a fraction of the full one, 4 pi, below which the face counts for nothing. Where more
            than three faces meet in a corner, as in most simple crystals, the smallest displacement
            opens another one there. The default is above those that displacements by 0.1 angstrom
            open, and above the second neighbours of diamond (0.0099), but below those of
            body-centred cubic crystals (0.035).
        edge_mode: how often an edge counts that is found from both ends.
        lattice_sums: where the infinite sums of pair potentials (see ``ewald.py``) are computed.
            ``featurized`` computes them here; ``in_encoder`` passes on what an encoder needs to
            compute them on its own device; ``none`` leaves them out.
        pauli_decay_per_angstrom: decay of the Pauli term, wherever the sums are computed.
        pauli_scaling: how this decay depends on the cell, see ``ewald.pauli_decay``.
        reduced_lattice: whether the graph holds the shortest lattice vectors, from the shortest to
            the longest (Minkowski's reduction), for encoders that are told the lattice. They are
            those of the cell that the record gives: a repeated cell has others.
        multiplicity: whether the graph holds, for each atom, the fraction of the crystal's atoms
            that are equivalent to it by symmetry, which is the same in every cell. Random views
            keep what the crystal has before its atoms are moved.
        max_atoms: largest number of atoms N for which lattice sums are taken, since there are
            N (N + 1) / 2 of them; a larger crystal is refused. Without sums there is no limit.
    """

    modality: ClassVar[str] = "structure"
    index_columns: ClassVar[tuple[str, ...]] = ("has_structure",)

    type: Literal["crystal_graph"] = "crystal_graph"
    neighbors: Literal["nearest", "within_cutoff", "voronoi"] = "nearest"
    cutoff_angstrom: PositiveFloat = 4.0
    max_neighbors: PositiveInt | None = 16
    min_solid_angle_fraction: Annotated[float, Ge(0), Lt(1)] = 0.02
    edge_mode: EdgeMode = "clean"
    lattice_sums: LatticeSums = "featurized"
    pauli_decay_per_angstrom: PositiveFloat = 3.0
    pauli_scaling: PauliScaling = "exact"
    reduced_lattice: bool = False
    multiplicity: bool = False
    max_atoms: PositiveInt = 5000

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.neighbors == "nearest" and self.max_neighbors is None:
            raise ValueError("max_neighbors: null needs neighbors: within_cutoff or voronoi")
        if self.neighbors == "voronoi" and self.max_neighbors is not None:
            raise ValueError(
                "neighbors: voronoi joins an atom across all faces of its cell: set max_neighbors "
                "to null"
            )
        return self

    @property
    def fields(self) -> tuple[Field, ...]:
        """Fields of the atoms and directed edges, and whatever else is asked for."""
        lattice = (LATTICE_FIELD,) if self.reduced_lattice else ()
        sites = (MULTIPLICITY_FIELD,) if self.multiplicity else ()
        return EDGE_FIELDS + lattice + sites + LATTICE_SUM_FIELDS[self.lattice_sums]

    def num_edges(self, num_atoms: Int) -> Int:
        """Say about how many edges crystals of so many atoms have, shape (n,).

        Each atom counts for the neighbours that it looks for, though ties and the reverses of edges
        add some; with lattice sums every ordered pair of atoms is one more edge.
        """
        if self.neighbors == "voronoi":
            per_atom = _FACES_PER_ATOM
        else:
            per_atom = self.max_neighbors or number_within(self.cutoff_angstrom)
        if self.edge_mode == "reference":
            per_atom *= 2
        return num_atoms * (per_atom + (num_atoms if self.lattice_sums != "none" else 0))

    def __call__(self, record: Record) -> Arrays | None:
        """Return the graph, or None where the record has no structure.

        Edge vectors point from the source to the image of the target.

        Raises:
            ValueError: the structure has no atoms, an unknown element, coinciding atoms, a
                coordinate that is not finite, a cell without volume, too many atoms, or no symmetry
                that can be told.
        """
        return None if record.structure is None else self.of_structure(record.structure)

    def of_structure(self, structure: Structure, before: Structure | None = None) -> Arrays:
        """Return the graph of a structure, with the same errors as for a record.

        Args:
            structure: the crystal.
            before: the same atoms before they were moved, which had the symmetry of the crystal.
        """
        _check(structure)
        self._check_size(structure)
        sources, targets, images = directed(self._neighbors(structure), self.edge_mode)
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
        if self.multiplicity:
            shares = site_multiplicity(structure if before is None else before)
            arrays[MULTIPLICITY_FIELD.name] = shares.astype(np.float32)
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
        if self.neighbors == "voronoi":
            return sharing_faces(structure, self.min_solid_angle_fraction)
        if self.max_neighbors is None:
            return within(structure, self.cutoff_angstrom + TIE_ANGSTROM)
        num_atoms, radius = len(structure.atomic_numbers), self.cutoff_angstrom
        while True:
            found = within(structure, radius + TIE_ANGSTROM)
            counts = np.bincount(found.centers[found.distances <= radius], minlength=num_atoms)
            if self.neighbors == "within_cutoff" or counts.min() >= self.max_neighbors:
                return nearest(found, self.max_neighbors, num_atoms)
            radius *= _RADIUS_GROWTH


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
