"""The settings of DimeNet++ (Gasteiger et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from omnimat.modalities.structure.crystal import CutoffEncoderSettings


class DimeNetPlusPlusSettings(CutoffEncoderSettings):
    """Settings of DimeNet++; ``paper`` has the sizes of CDVAE, to which UniMat refers.

    The number of triplets grows with the square of the number of neighbours. At 7 angstrom, limit
    the neighbours to 20, as CDVAE does (``featurizer: {neighbors: within_cutoff, cutoff_angstrom:
    7, max_neighbors: 20}``).

    Attributes:
        hidden_width: width of the message of each edge.
        num_blocks: number of interaction blocks.
        triplet_width: width to which messages are narrowed where triplets are summed.
        basis_width: width between the two linear maps of each basis.
        output_width: width of the output blocks.
        num_spherical: number of spherical basis functions of the angle.
        num_radial: number of radial basis functions of the distance.
        num_before_skip: number of residual layers of a block before its skip connection.
        num_after_skip: the same after it.
        num_output_layers: number of layers of an output block before its last.
        envelope_exponent: how steeply the envelope falls to zero at the cut-off.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {
            "hidden_width": 32,
            "num_blocks": 2,
            "triplet_width": 16,
            "output_width": 32,
            "num_spherical": 3,
            "cutoff_angstrom": 5.0,
        },
    }
    network: ClassVar[str] = "omnimat.modalities.structure.dimenetpp_network:DimeNetPlusPlus"
    type: Literal["dimenetpp"] = "dimenetpp"
    hidden_width: PositiveInt = 128
    num_blocks: PositiveInt = 4
    triplet_width: PositiveInt = 64
    basis_width: PositiveInt = 8
    output_width: PositiveInt = 256
    num_spherical: PositiveInt = 7
    num_radial: PositiveInt = 6
    num_before_skip: NonNegativeInt = 1
    num_after_skip: NonNegativeInt = 2
    num_output_layers: NonNegativeInt = 3
    cutoff_angstrom: PositiveFloat = 7.0
    envelope_exponent: PositiveInt = 5
