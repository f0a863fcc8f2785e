"""The settings of PotNet (Lin et al., ICML 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from omnimat.modalities.structure.crystal import CrystalEncoderSettings


class PotNetSettings(CrystalEncoderSettings):
    """Settings of PotNet; the paper preset with 128 outputs has 1,718,656 parameters.

    ``potential_coefficients`` weight the Coulomb, London and Pauli sums. The featurizer's
    ``lattice_sums`` decides whether the featurizer or the network computes these sums; trained
    weights work with both. ``lattice_sums: false`` keeps only the local edges.

    Attributes:
        num_convolutions: number of times that atoms gather from their neighbours.
        hidden_width: width of the state of each atom and of the features of each edge.
        num_local_centres: number of radial basis functions of the distance.
        num_infinite_centres: number of radial basis functions of the lattice sums.
        potential_coefficients: weights of the Coulomb, London and Pauli sums.
        lattice_sums: whether pairs of atoms are edges too, by their lattice sums.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {
            "num_convolutions": 2,
            "hidden_width": 32,
            "num_local_centres": 64,
            "num_infinite_centres": 16,
        },
    }
    network: ClassVar[str] = "omnimat.modalities.structure.potnet_network:PotNet"
    type: Literal["potnet"] = "potnet"
    num_convolutions: int = 3
    hidden_width: int = 256
    num_local_centres: int = 256
    num_infinite_centres: int = 64
    potential_coefficients: tuple[float, float, float] = (-0.801, -0.074, 0.145)
    lattice_sums: bool = True

    @property
    def needs_lattice_sums(self) -> bool:
        """Whether the network uses the lattice sums of atom pairs."""
        return self.lattice_sums
