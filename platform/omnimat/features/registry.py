"""The featurizers a job file may name, by modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator

from omnimat.features.charge_density import ChargeDensityGrid
from omnimat.features.composition import Magpie
from omnimat.features.dos import DosCurve
from omnimat.features.huggingface_embedding import HuggingFaceEmbedding
from omnimat.features.layout import Featurizer
from omnimat.features.structure import CrystalGraph
from omnimat.features.text import TextEmbedding
from omnimat.features.text_tokens import TextTokens
from omnimat.features.xrd import XrdPattern
from omnimat.materials.record import Modality


def _text_embedding_by_default(values: Any) -> Any:
    return {"type": "text_embedding", **values} if isinstance(values, Mapping) else values


# A second featurizer of a modality makes its name a union discriminated by ``type``.
StructureFeaturizer = CrystalGraph
DosFeaturizer = DosCurve
ChargeDensityFeaturizer = ChargeDensityGrid
TextFeaturizer = Annotated[
    TextEmbedding | TextTokens | HuggingFaceEmbedding,
    Discriminator("type"),
    BeforeValidator(_text_embedding_by_default),
]
XrdFeaturizer = XrdPattern
CompositionFeaturizer = Magpie

FEATURIZERS: Mapping[Modality, Callable[[], Featurizer]] = MappingProxyType(
    {
        "structure": CrystalGraph,
        "dos": DosCurve,
        "charge_density": ChargeDensityGrid,
        "text": TextEmbedding,
        "xrd": XrdPattern,
        "composition": Magpie,
    }
)


def default_featurizer(modality: Modality) -> Featurizer:
    """Build the featurizer of a modality with its default settings."""
    return FEATURIZERS[modality]()
