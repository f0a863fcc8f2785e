"""The settings of a 3D ResNeXt-50 for charge densities (Hara et al., CVPR 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import PositiveInt, model_validator

from omnimat.modalities.encoder import EncoderSettings

Padding = Literal["zeros", "circular"]


class DensityResNeXtSettings(EncoderSettings):
    """Settings of the ResNeXt; the paper preset with 128 outputs has 26,084,032 parameters.

    ``width`` is the number of channels of the grouped convolutions in the first stage; each further
    stage doubles it. ``padding: circular`` continues the grid periodically, like the crystal; the
    published model pads with zeros.

    Attributes:
        stages: number of blocks of each stage; from the second on, each halves the grid.
        stem_channels: number of channels of the first convolution.
        width: number of channels of the grouped convolutions in the first stage.
        cardinality: number of groups of these.
        padding: how the grid is continued beyond its ends.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"stages": (1, 1, 1, 1), "stem_channels": 8, "width": 8, "cardinality": 2},
    }
    network: ClassVar[str] = "omnimat.modalities.charge_density.resnext_network:DensityResNeXt"
    has_fixed_shapes: ClassVar[bool] = True
    type: Literal["density_resnext"] = "density_resnext"
    stages: tuple[PositiveInt, ...] = (3, 4, 6, 3)
    stem_channels: PositiveInt = 64
    width: PositiveInt = 128
    cardinality: PositiveInt = 32
    padding: Padding = "zeros"

    @model_validator(mode="after")
    def _groups_share_the_width(self) -> Self:
        if self.width % self.cardinality:
            raise ValueError("width must be a multiple of cardinality")
        return self
