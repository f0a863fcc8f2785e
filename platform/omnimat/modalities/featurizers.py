"""The featurizers a job file may name, by modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator

from omnimat.materials.record import Modality
from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.modalities.composition.features import Magpie
from omnimat.modalities.dos.features import DosCurve
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.text.embedding import TextEmbedding
from omnimat.modalities.text.huggingface_embedding import HuggingFaceEmbedding
from omnimat.modalities.text.tokens import TextTokens
from omnimat.modalities.xrd.features import XrdPattern


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
