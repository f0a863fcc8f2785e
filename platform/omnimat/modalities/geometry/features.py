"""How densely other atoms lie around an atom, by distance."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, model_validator

from omnimat.materials.record import Record, Structure
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field
from omnimat.modalities.structure.features import CrystalGraph

Float = NDArray[np.floating[Any]]

_SMEARING_REACH = 4.0  # in sigma; a Gaussian has fallen to 3e-4 there


class PairDensity(FeaturizerSettings):
    """Atoms per volume at each distance from an atom, smeared, and averaged over the atoms.

        n(r) = 1/N sum_i sum_j G(r - d_ij) / (4 pi r^2)

    G is a Gaussian of unit area, and j runs over all periodic images. There are two curves: of all
    pairs, which tends to the number density of the crystal, and of pairs of the same element. They
    depend neither on the cell that is chosen, nor on rotation or on the order of the atoms. Of a
    structure that is shown displaced or strained (``structure.augmentation``), they are those of
    the record as it is, so that predicting them is denoising.

    Attributes:
        first_angstrom: smallest distance.
        last_angstrom: largest distance.
        step_angstrom: between distances, and standard deviation of G.
    """

    modality: ClassVar[str] = "geometry"
    index_columns: ClassVar[tuple[str, ...]] = ("has_structure",)

    type: Literal["pair_density"] = "pair_density"
    first_angstrom: PositiveFloat = 1.0
    last_angstrom: PositiveFloat = 8.0
    step_angstrom: PositiveFloat = 0.25

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.first_angstrom >= self.last_angstrom:
            raise ValueError("first_angstrom must be less than last_angstrom")
        return self

    @property
    def distances_angstrom(self) -> Float:
        """The distances r, (n,)."""
        num_steps = round((self.last_angstrom - self.first_angstrom) / self.step_angstrom)
        distances: Float = self.first_angstrom + self.step_angstrom * np.arange(num_steps + 1)
        return distances

    @property
    def fields(self) -> tuple[Field, ...]:
        """Field of the two curves, of all pairs and of those of the same element."""
        shape = (2, len(self.distances_angstrom))
        return (Field("atoms_per_angstrom3", "float32", shape),)

    def __call__(self, record: Record) -> Arrays | None:
        """Return the curves, or None where the record has no structure.

        Raises:
            ValueError: for the same reasons as in ``CrystalGraph``.
        """
        if record.structure is None:
            return None
        return {"atoms_per_angstrom3": self.curves(record.structure).astype(np.float32)}

    def curves(self, structure: Structure) -> Float:
        """Return the curves of a structure, (2, n)."""
        sigma = self.step_angstrom
        graph = CrystalGraph(
            neighbors="within_cutoff",
            cutoff_angstrom=self.last_angstrom + _SMEARING_REACH * sigma,
            max_neighbors=None,
            lattice_sums="none",
        ).of_structure(structure)
        lengths = np.linalg.norm(graph["edge_vectors_angstrom"].astype(np.float64), axis=1)
        numbers = graph["atomic_numbers"]
        is_same = numbers[graph["edge_sources"]] == numbers[graph["edge_targets"]]
        counted = np.stack([np.ones(len(lengths)), is_same])
        # One distance after another, as a large crystal has millions of pairs.
        radii = self.distances_angstrom
        sums = [counted @ np.exp(-0.5 * ((r - lengths) / sigma) ** 2) for r in radii]
        area = np.sqrt(2 * np.pi) * sigma * 4 * np.pi * radii**2
        curves: Float = np.stack(sums, axis=1) / (len(numbers) * area)
        return curves
