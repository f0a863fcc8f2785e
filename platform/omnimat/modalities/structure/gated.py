"""A gated graph network that sees angles: its edges know the surroundings of both of their atoms.

It joins what has paid in networks of crystals: the gated sum over neighbours of CGCNN (Xie and
Grossman, PRL 120, 145301, 2018), an envelope that lets messages vanish smoothly at a cutoff, blocks
of a normalised update and an MLP on each atom as in transformers, and angles by way of the moments
of the density of neighbours, whose products sum Legendre polynomials over all pairs of neighbours
without listing a pair (as in the atomic cluster expansion, Drautz, PRB 99, 014104, 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from omnimat.modalities.layout import Featurizer
from omnimat.modalities.structure.crystal import CutoffEncoderSettings
from omnimat.modalities.structure.features import CrystalGraph

LatticeUse = Literal["none", "edges", "cell"]


class GatedGraphSettings(CutoffEncoderSettings):
    """Settings of the gated graph network.

    It takes ``featurizer: {neighbors: within_cutoff, cutoff_angstrom: 8, max_neighbors: 12,
    lattice_sums: none}``, or ``{neighbors: voronoi, max_neighbors: null, lattice_sums: none}``. Its
    embedding does not change when a crystal is rotated, shifted or described by another cell,
    unless ``lattice`` tells the network of the cell. ``tiny`` is for tests, ``small`` for CPUs,
    ``base`` for GPUs.

    Attributes:
        hidden_width: width of the state of each atom.
        edge_width: width of the features of each edge.
        num_layers: number of times that atoms gather from their neighbours.
        num_radial: number of Gaussians of the distance.
        num_densities: number of densities of neighbours, each with weights of its own by distance
            and element; 0 for distances alone.
        max_degree: highest degree of the Legendre polynomials of angles.
        lattice: whether the network is told the shortest lattice vectors of the cell, which needs
            ``featurizer: {reduced_lattice: true}``. ``edges`` gives each edge their lengths and its
            angles to them, as iComFormer does (Yan et al., ICLR 2024). ``cell`` gives all atoms the
            lengths, the angles between them and the number of atoms, so that to predict a lattice
            is to copy it: no finding, but a test. Which of two equally long vectors comes first
            makes no difference.
        multiplicity: whether each atom is told which fraction of the crystal's atoms are equivalent
            to it by symmetry, which needs ``featurizer: {multiplicity: true}``. A new network makes
            nothing of it yet.
        expansion: hidden width of the MLP of each atom, as a multiple of ``hidden_width``.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "small": {},
        "tiny": {
            "hidden_width": 32,
            "edge_width": 16,
            "num_layers": 2,
            "num_radial": 16,
            "num_densities": 4,
        },
        "base": {
            "hidden_width": 256,
            "edge_width": 128,
            "num_layers": 6,
            "num_radial": 64,
            "num_densities": 32,
        },
    }
    preset: str = "small"
    network: ClassVar[str] = "omnimat.modalities.structure.gated_network:GatedGraph"
    type: Literal["gated_graph"] = "gated_graph"
    hidden_width: PositiveInt = 128
    edge_width: PositiveInt = 64
    num_layers: PositiveInt = 4
    num_radial: int = Field(default=32, ge=2)
    num_densities: NonNegativeInt = 16
    max_degree: int = Field(default=3, ge=1, le=3)
    lattice: LatticeUse = "none"
    multiplicity: bool = False
    expansion: PositiveInt = 2
    cutoff_angstrom: PositiveFloat = 8.0

    def fitted_to(self, featurizer: Featurizer) -> Self:
        """Insist that the graph holds what the network is told beyond the edges.

        Raises:
            ValueError: it does not, or the graph is not one for the cutoff.
        """
        fitted = super().fitted_to(featurizer)
        assert isinstance(featurizer, CrystalGraph)  # or it would not have been fitted
        if self.lattice != "none" and not featurizer.reduced_lattice:
            raise ValueError(
                f"the encoder {self.type} with lattice: {self.lattice} takes the lattice vectors: "
                "set featurizer.reduced_lattice to true"
            )
        if self.multiplicity and not featurizer.multiplicity:
            raise ValueError(
                f"the encoder {self.type} with multiplicity: true takes the multiplicity of each "
                "atom: set featurizer.multiplicity to true"
            )
        return fitted
