"""Random views of a crystal for contrastive training.

CLaC makes its views by moving atoms and straining the cell (revised code of arXiv 2502.16451) or by
masking atoms and edges (its first version). The functions do not change their input, and the same
crystal and state of the generator give the same result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from omnimat.materials.record import Record, Structure
from omnimat.materials.validation import shortest_distance_angstrom
from omnimat.modalities.layout import Arrays
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.views import ArrayAugmentationSettings

MASKED_ATOMIC_NUMBER = 0
_ENDS = ("edge_sources", "edge_targets")
_VARIED = ("atomic_numbers", "edge_vectors_angstrom", "reduced_lattice_angstrom")


class StructureAugmentation(ArrayAugmentationSettings):
    """How strongly a crystal is changed.

    A stored graph keeps its edges, and their vectors change. Its cell is not known, so that it is
    strained along three perpendicular directions, drawn at random, in place of its cell vectors.

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
        return self.masked(featurizer.of_structure(moved, before=record.structure), generator)

    def check_stored(self, featurizer: CrystalGraph) -> None:
        """Refuse graphs with lattice sums, which would no longer be those of the moved atoms.

        Raises:
            ValueError: the featurizer computes or passes on lattice sums.
        """
        if featurizer.lattice_sums != "none":
            raise ValueError(
                "a stored graph with lattice sums cannot be moved: set the featurizer's "
                "lattice_sums to none in the job that pretrains"
            )

    def vary(
        self, arrays: Arrays, featurizer: CrystalGraph, generators: Sequence[np.random.Generator]
    ) -> Arrays:
        """Return moved, strained and masked graphs of n stored ones, with the same edges."""
        del featurizer
        varied = {name: arrays[name].copy() for name in _VARIED if name in arrays}
        last_atoms, last_edges = arrays["num_atoms"].cumsum(), arrays["num_edges"].cumsum()
        for i, generator in enumerate(generators):
            atoms = slice(last_atoms[i] - arrays["num_atoms"][i], last_atoms[i])
            edges = slice(last_edges[i] - arrays["num_edges"][i], last_edges[i])
            sources, targets = (arrays[end][edges] - atoms.start for end in _ENDS)
            places = {"atomic_numbers": atoms, "edge_vectors_angstrom": edges}
            graph = {name: varied[name][place] for name, place in places.items()}
            stretch = random_stretch(self.strain, generator)
            distorted = self._distorted(graph, sources, targets, stretch, generator)
            changed = self.masked(distorted, generator)
            for name, place in places.items():
                varied[name][place] = changed[name]
            if "reduced_lattice_angstrom" in varied:
                varied["reduced_lattice_angstrom"][i] @= stretch.astype(np.float32)
        return arrays | varied

    def _distorted(
        self,
        graph: Arrays,
        sources: NDArray[np.integer[Any]],
        targets: NDArray[np.integer[Any]],
        stretch: NDArray[np.float64],
        generator: np.random.Generator,
    ) -> Arrays:
        """Move the atoms of a graph, by what its shortest edge allows, and then stretch it."""
        vectors = graph["edge_vectors_angstrom"].astype(np.float64)
        if len(vectors):
            largest_angstrom = self.displacement * np.linalg.norm(vectors, axis=1).min()
            moves = random_moves(len(graph["atomic_numbers"]), largest_angstrom, generator)
            vectors += moves[targets] - moves[sources]
        return {**graph, "edge_vectors_angstrom": (vectors @ stretch).astype(np.float32)}

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
    largest_angstrom = fraction * shortest_distance_angstrom(structure)
    displacements = random_moves(len(structure.frac_coords), largest_angstrom, generator)
    moves = np.linalg.solve(structure.lattice_angstrom.T, displacements.T).T
    return dataclasses.replace(structure, frac_coords=structure.frac_coords + moves)


def random_moves(
    num_atoms: int, largest_angstrom: float, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Draw vectors in random directions, whose lengths are distributed uniformly, (n, 3)."""
    directions = generator.standard_normal((num_atoms, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    moves: NDArray[np.float64] = generator.uniform(0, 1, (num_atoms, 1)) * directions
    return largest_angstrom * moves


def strain_cell(structure: Structure, largest: float, generator: np.random.Generator) -> Structure:
    """Lengthen each cell vector by a fraction between 0 and ``largest``; atoms move along."""
    factors = 1 + generator.uniform(0, largest, (3, 1))
    return dataclasses.replace(structure, lattice_angstrom=structure.lattice_angstrom * factors)


def random_stretch(largest: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """Draw a symmetric matrix that lengthens three perpendicular directions, (3, 3).

    Each is lengthened by a fraction between 0 and ``largest``.
    """
    axes, _ = np.linalg.qr(generator.standard_normal((3, 3)))
    stretch: NDArray[np.float64] = axes * (1 + generator.uniform(0, largest, 3)) @ axes.T
    return stretch


def chosen(count: int, fraction: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask of shape (count,) that is true at ``round(fraction * count)`` random places."""
    mask = np.zeros(count, dtype=np.bool_)
    mask[generator.permutation(count)[: round(fraction * count)]] = True
    return mask
