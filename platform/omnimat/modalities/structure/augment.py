"""Random views of a crystal for contrastive training.

CLaC makes its views by moving atoms and straining the cell (revised code of arXiv 2502.16451) or by
masking atoms and edges (its first version). The functions do not change their input, and the same
crystal and state of the generator give the same result.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from omnimat.materials.record import Record, Structure
from omnimat.materials.validation import shortest_distance_angstrom
from omnimat.modalities.layout import Arrays
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.views import AugmentationSettings

MASKED_ATOMIC_NUMBER = 0


class StructureAugmentation(AugmentationSettings):
    """How strongly a crystal is changed.

    Attributes:
        displacement: largest displacement of an atom, as a fraction of the shortest distance
            between atoms. CLaC uses 0.5; below that, no two atoms can meet.
        strain: largest relative elongation of each cell vector. CLaC uses 0.05.
        masked_atoms: fraction of atoms whose element is hidden. CLaC's first version uses 0.15.
        masked_edges: fraction of edges whose vector is set to zero. CLaC's first version uses 0.15.
    """

    displacement: float = Field(default=0.5, ge=0, le=0.5)
    strain: float = Field(default=0.05, ge=0, le=0.5)
    masked_atoms: float = Field(default=0.0, ge=0, lt=1)
    masked_edges: float = Field(default=0.0, ge=0, lt=1)

    def view(
        self, record: Record, featurizer: CrystalGraph, generator: np.random.Generator
    ) -> Arrays | None:
        """Return the moved, strained and masked graph, or None where there is no structure.

        Raises:
            ValueError: for the same reasons as in ``CrystalGraph``.
        """
        if record.structure is None:
            return None
        moved = self.moved(record.structure, generator)
        return self.masked(featurizer.of_structure(moved), generator)

    def moved(self, structure: Structure, generator: np.random.Generator) -> Structure:
        """Displace the atoms, then strain the cell."""
        displaced = displace_atoms(structure, self.displacement, generator)
        return strain_cell(displaced, self.strain, generator)

    def masked(self, graph: Arrays, generator: np.random.Generator) -> Arrays:
        """Return a new graph with some elements and edge vectors hidden; it shares other arrays.

        Args:
            graph: ``atomic_numbers`` (n,), ``edge_vectors_angstrom`` (m, 3) and other arrays.
            generator: source of random numbers, which is advanced.
        """
        numbers, vectors = graph["atomic_numbers"], graph["edge_vectors_angstrom"]
        hidden = chosen(len(numbers), self.masked_atoms, generator)
        cut = chosen(len(vectors), self.masked_edges, generator)
        return {
            **graph,
            "atomic_numbers": np.where(hidden, MASKED_ATOMIC_NUMBER, numbers).astype(numbers.dtype),
            "edge_vectors_angstrom": np.where(cut[:, None], 0, vectors).astype(vectors.dtype),
        }


def displace_atoms(
    structure: Structure, fraction: float, generator: np.random.Generator
) -> Structure:
    """Move each atom in a random direction by up to ``fraction`` of the shortest distance.

    The length of the move is distributed uniformly. Coordinates may leave the cell.
    """
    num_atoms = len(structure.frac_coords)
    directions = generator.standard_normal((num_atoms, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = generator.uniform(0, fraction, (num_atoms, 1)) * shortest_distance_angstrom(structure)
    moves = np.linalg.solve(structure.lattice_angstrom.T, (lengths * directions).T).T
    return dataclasses.replace(structure, frac_coords=structure.frac_coords + moves)


def strain_cell(structure: Structure, largest: float, generator: np.random.Generator) -> Structure:
    """Lengthen each cell vector by a fraction between 0 and ``largest``; atoms move along."""
    factors = 1 + generator.uniform(0, largest, (3, 1))
    return dataclasses.replace(structure, lattice_angstrom=structure.lattice_angstrom * factors)


def chosen(count: int, fraction: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask of shape (count,) that is true at ``round(fraction * count)`` random places."""
    mask = np.zeros(count, dtype=np.bool_)
    mask[generator.permutation(count)[: round(fraction * count)]] = True
    return mask
