"""The settings of a transformer over the points of a density of states (MultiMat)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from omnimat.modalities.encoder import EncoderSettings


class DosTransformerSettings(EncoderSettings):
    """Settings of the DOS transformer; the paper preset with 128 outputs has 1,611,392 parameters.

    Energies and densities are divided by their scale before the first layer. The published model
    takes them as they are (scale 1), although energies span some 100 eV and densities some 500
    states/eV.

    ``num_mixing_layers`` linear maps join a token's embedded energy and density: one in the
    released code, two in MultiMat's paper. There is a GELU between the two, as in the blocks;
    without it they would be a single linear map. With two, 128 outputs take 1,677,184 parameters.

    Attributes:
        token_width: width of each token, which is a point of the curve.
        num_blocks: number of transformer blocks.
        num_heads: number of attention heads.
        head_width: width of each head.
        mlp_width: hidden width of the MLP of each block.
        num_mixing_layers: number of linear maps that join energy and density.
        energy_scale_ev: what energies are divided by.
        dos_scale_per_ev: what densities are divided by.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {
            "token_width": 32,
            "num_blocks": 1,
            "num_heads": 2,
            "head_width": 16,
            "mlp_width": 64,
            "energy_scale_ev": 10.0,
            "dos_scale_per_ev": 10.0,
        },
    }
    network: ClassVar[str] = "omnimat.modalities.dos.transformer_network:DosTransformer"
    has_fixed_shapes: ClassVar[bool] = True
    type: Literal["dos_transformer"] = "dos_transformer"
    token_width: PositiveInt = 128
    num_blocks: PositiveInt = 4
    num_heads: PositiveInt = 8
    head_width: PositiveInt = 64
    mlp_width: PositiveInt = 512
    num_mixing_layers: Literal[1, 2] = 1
    energy_scale_ev: PositiveFloat = 1.0
    dos_scale_per_ev: PositiveFloat = 1.0
