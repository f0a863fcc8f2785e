"""Random views of a crystal for contrastive training.

CLaC makes its views by moving atoms and straining the cell (revised code of arXiv 2502.16451) or by
masking atoms and edges (its first version). The functions do not change their input, and the same
crystal and state of the generator give the same result.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from omnimat.base.settings import Settings
from omnimat.materials.record import Record, Structure
from omnimat.modalities.layout import Arrays
from omnimat.modalities.structure.features import CrystalGraph

MASKED_ATOMIC_NUMBER = 0


class StructureAugmentation(Settings):
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
    ) -> Arrays:
        """Return the graph of the crystal after moving, straining and masking it.

        Raises:
            ValueError: for the same reasons as in ``CrystalGraph``.
        """
        moved = self.moved(record.structure, generator)
        return self.masked(featurizer(dataclasses.replace(record, structure=moved)), generator)

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
    lengths = generator.uniform(0, fraction, (num_atoms, 1)) * shortest_distance(structure)
    moves = np.linalg.solve(structure.lattice_angstrom.T, (lengths * directions).T).T
    return dataclasses.replace(structure, frac_coords=structure.frac_coords + moves)


def strain_cell(structure: Structure, largest: float, generator: np.random.Generator) -> Structure:
    """Lengthen each cell vector by a fraction between 0 and ``largest``; atoms move along."""
    factors = 1 + generator.uniform(0, largest, (3, 1))
    return dataclasses.replace(structure, lattice_angstrom=structure.lattice_angstrom * factors)


def shortest_distance(structure: Structure) -> float:
    """Find the shortest distance in angstrom between two atoms, including images of one atom."""
    lattice = structure.lattice_angstrom
    # An atom's own image lies at the shortest cell vector, so there is no need to look farther.
    shortest = float(np.linalg.norm(lattice, axis=1).min())
    spacings = 1 / np.linalg.norm(np.linalg.inv(lattice), axis=0)
    reach = np.ceil(shortest / spacings + 0.5).astype(int)
    steps = structure.frac_coords[:, None] - structure.frac_coords
    steps -= np.rint(steps)
    own = np.eye(len(steps), dtype=bool)
    for image in itertools.product(*(range(-n, n + 1) for n in reach)):
        distances = np.linalg.norm((steps + image) @ lattice, axis=2)
        if not any(image):
            distances[own] = np.inf
        shortest = min(shortest, float(distances.min()))
    return shortest


def chosen(count: int, fraction: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask of shape (count,) that is true at ``round(fraction * count)`` random places."""
    mask = np.zeros(count, dtype=np.bool_)
    mask[generator.permutation(count)[: round(fraction * count)]] = True
    return mask
