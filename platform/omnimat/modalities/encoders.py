"""Which encoders there are, by modality. A new one joins its modality's union here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Protocol, get_args

from pydantic import BeforeValidator, Discriminator
from torch import nn

from omnimat.materials.record import Modality
from omnimat.modalities.charge_density.resnext import DensityResNeXtSettings
from omnimat.modalities.composition.mlp import CompositionMlpSettings
from omnimat.modalities.dos.transformer import DosTransformerSettings
from omnimat.modalities.structure.cgcnn import CgcnnSettings
from omnimat.modalities.structure.dimenetpp import DimeNetPlusPlusSettings
from omnimat.modalities.structure.painn import PaiNNSettings
from omnimat.modalities.structure.potnet import PotNetSettings
from omnimat.modalities.text.huggingface_encoder import HuggingFaceTextSettings
from omnimat.modalities.text.mlp import TextMlpSettings
from omnimat.modalities.text.transformer import TextTransformerSettings
from omnimat.modalities.xrd.cnn import XrdCnnSettings

_AnyTextEncoder = TextMlpSettings | TextTransformerSettings | HuggingFaceTextSettings
_AnyStructureEncoder = PotNetSettings | CgcnnSettings | PaiNNSettings | DimeNetPlusPlusSettings


def _by_default(name: str) -> BeforeValidator:
    """Fill in ``type`` where a job file leaves it out."""

    def fill(values: Any) -> Any:
        return {"type": name, **values} if isinstance(values, Mapping) else values

    return BeforeValidator(fill)


StructureEncoder = Annotated[_AnyStructureEncoder, Discriminator("type"), _by_default("potnet")]
DosEncoder = DosTransformerSettings
ChargeDensityEncoder = DensityResNeXtSettings
TextEncoder = Annotated[_AnyTextEncoder, Discriminator("type"), _by_default("text_mlp")]
XrdEncoder = XrdCnnSettings
CompositionEncoder = CompositionMlpSettings

AnyEncoderSettings = Annotated[
    _AnyStructureEncoder
    | DosEncoder
    | ChargeDensityEncoder
    | _AnyTextEncoder
    | XrdEncoder
    | CompositionEncoder,
    Discriminator("type"),
]


class EncoderSettings(Protocol):
    """Settings that build an encoder."""

    @property
    def type(self) -> str:
        """Its name in a job file."""

    def build(self, embedding_dim: int) -> nn.Module:
        """Build a module from a mapping of arrays to (n, embedding_dim)."""


# The first of each modality is its default.
ENCODERS: Mapping[Modality, tuple[Callable[..., EncoderSettings], ...]] = MappingProxyType(
    {
        "structure": get_args(_AnyStructureEncoder),
        "dos": (DosEncoder,),
        "charge_density": (ChargeDensityEncoder,),
        "text": get_args(_AnyTextEncoder),
        "xrd": (XrdEncoder,),
        "composition": (CompositionEncoder,),
    }
)


def modality_of(settings: EncoderSettings) -> Modality:
    """Find what a registered encoder encodes.

    Raises:
        KeyError: its settings are not registered.
    """
    for modality, registered in ENCODERS.items():
        if type(settings) in registered:
            return modality
    raise KeyError(f"{type(settings).__name__} is not in omnimat.modalities.encoders")
