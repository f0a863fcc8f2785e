"""The featurizers a job file may name, by modality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from omnimat.features.charge_density import ChargeDensityGrid
from omnimat.features.composition import Magpie
from omnimat.features.dos import DosCurve
from omnimat.features.layout import Featurizer
from omnimat.features.structure import CrystalGraph
from omnimat.features.text import TextEmbedding
from omnimat.features.xrd import XrdPattern
from omnimat.materials.record import Modality

# A second featurizer of a modality makes its name a union discriminated by ``type``.
StructureFeaturizer = CrystalGraph
DosFeaturizer = DosCurve
ChargeDensityFeaturizer = ChargeDensityGrid
TextFeaturizer = TextEmbedding
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
