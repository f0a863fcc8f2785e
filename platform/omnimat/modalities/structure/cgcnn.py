"""The settings of CGCNN (Xie and Grossman, PRL 120, 145301, 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from omnimat.modalities.structure.crystal import CrystalEncoderSettings


class CgcnnSettings(CrystalEncoderSettings):
    """Settings of CGCNN; the paper preset with 128 outputs has 97,216 parameters.

    It needs no lattice sums. It was published on the 12 nearest neighbours of each atom, found
    within 8 angstrom: ``featurizer: {max_neighbors: 12, cutoff_angstrom: 8, lattice_sums: none}``.
    Our graphs keep all neighbours that are as far away as the twelfth, and every edge's reverse.

    Attributes:
        num_convolutions: number of times that atoms gather from their neighbours.
        hidden_width: width of the state of each atom.
        head_width: width of the layer between the mean over atoms and the embedding.
        gaussian_step_angstrom: step between the centres of the Gaussians of the distance, and their
            width.
        gaussian_limit_angstrom: centre of the last Gaussian.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"num_convolutions": 2, "hidden_width": 32, "head_width": 32},
    }
    network: ClassVar[str] = "omnimat.modalities.structure.cgcnn_network:Cgcnn"
    type: Literal["cgcnn"] = "cgcnn"
    num_convolutions: PositiveInt = 3
    hidden_width: PositiveInt = 64
    head_width: PositiveInt = 128
    gaussian_step_angstrom: PositiveFloat = 0.2
    gaussian_limit_angstrom: PositiveFloat = 8.0

    @property
    def num_gaussians(self) -> int:
        """Number of Gaussians of the distance, one for each step from 0 to the limit."""
        return round(self.gaussian_limit_angstrom / self.gaussian_step_angstrom) + 1
