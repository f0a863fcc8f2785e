"""Which encoders there are, by modality. A new one joins its modality's union here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Protocol

from pydantic import Field
from torch import nn

from omnimat.encoders.composition_mlp import CompositionMlpSettings
from omnimat.encoders.density_resnext import DensityResNeXtSettings
from omnimat.encoders.dos_transformer import DosTransformerSettings
from omnimat.encoders.potnet import PotNetSettings
from omnimat.encoders.text_mlp import TextMlpSettings
from omnimat.encoders.xrd_cnn import XrdCnnSettings
from omnimat.materials.record import Modality

StructureEncoder = PotNetSettings
DosEncoder = DosTransformerSettings
ChargeDensityEncoder = DensityResNeXtSettings
TextEncoder = TextMlpSettings
XrdEncoder = XrdCnnSettings
CompositionEncoder = CompositionMlpSettings

AnyEncoderSettings = Annotated[
    StructureEncoder
    | DosEncoder
    | ChargeDensityEncoder
    | TextEncoder
    | XrdEncoder
    | CompositionEncoder,
    Field(discriminator="type"),
]


class EncoderSettings(Protocol):
    """Settings that build an encoder."""

    def build(self, embedding_dim: int) -> nn.Module:
        """Build a module from a mapping of arrays to (n, embedding_dim)."""


DEFAULT_ENCODERS: Mapping[Modality, EncoderSettings] = {
    "structure": StructureEncoder(),
    "dos": DosEncoder(),
    "charge_density": ChargeDensityEncoder(),
    "text": TextEncoder(),
    "xrd": XrdEncoder(),
    "composition": CompositionEncoder(),
}
