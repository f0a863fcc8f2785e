"""Which encoders there are, by modality. A new one joins its modality's union here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Protocol, get_args

from pydantic import BeforeValidator, Discriminator
from torch import nn

from omnimat.encoders.cgcnn import CgcnnSettings
from omnimat.encoders.composition_mlp import CompositionMlpSettings
from omnimat.encoders.density_resnext import DensityResNeXtSettings
from omnimat.encoders.dimenetpp import DimeNetPlusPlusSettings
from omnimat.encoders.dos_transformer import DosTransformerSettings
from omnimat.encoders.huggingface_text import HuggingFaceTextSettings
from omnimat.encoders.painn import PaiNNSettings
from omnimat.encoders.potnet import PotNetSettings
from omnimat.encoders.text_mlp import TextMlpSettings
from omnimat.encoders.text_transformer import TextTransformerSettings
from omnimat.encoders.xrd_cnn import XrdCnnSettings
from omnimat.materials.record import Modality

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
    raise KeyError(f"{type(settings).__name__} is not in omnimat.encoders.registry")
