"""One choice of featurizer and encoder for each modality: what a job file says of its inputs."""

from __future__ import annotations

from typing import Protocol, cast

from pydantic import model_validator

from omnimat.encoders.registry import (
    AnyEncoderSettings,
    ChargeDensityEncoder,
    CompositionEncoder,
    DosEncoder,
    StructureEncoder,
    TextEncoder,
    XrdEncoder,
)
from omnimat.features.layout import Featurizer
from omnimat.features.registry import (
    ChargeDensityFeaturizer,
    CompositionFeaturizer,
    DosFeaturizer,
    StructureFeaturizer,
    TextFeaturizer,
    XrdFeaturizer,
)
from omnimat.materials.record import MODALITIES, Modality
from omnimat.materials.settings import Settings


class ModalityChoice(Protocol):
    """How one modality is turned into numbers and embedded."""

    @property
    def featurizer(self) -> Featurizer:
        """Record -> arrays."""

    @property
    def encoder(self) -> AnyEncoderSettings:
        """Arrays -> embedding."""


class StructureChoice(Settings):
    """Crystal structure."""

    featurizer: StructureFeaturizer = StructureFeaturizer()
    encoder: StructureEncoder = StructureEncoder()


class DosChoice(Settings):
    """Density of states."""

    featurizer: DosFeaturizer = DosFeaturizer()
    encoder: DosEncoder = DosEncoder()


class ChargeDensityChoice(Settings):
    """Charge density."""

    featurizer: ChargeDensityFeaturizer = ChargeDensityFeaturizer()
    encoder: ChargeDensityEncoder = ChargeDensityEncoder()


class TextChoice(Settings):
    """Text."""

    featurizer: TextFeaturizer = TextFeaturizer()
    encoder: TextEncoder = TextEncoder()


class XrdChoice(Settings):
    """X-ray diffraction."""

    featurizer: XrdFeaturizer = XrdFeaturizer()
    encoder: XrdEncoder = XrdEncoder()


class CompositionChoice(Settings):
    """Composition."""

    featurizer: CompositionFeaturizer = CompositionFeaturizer()
    encoder: CompositionEncoder = CompositionEncoder()


class ModalityChoices(Settings):
    """The modalities of a run; a key that is left out is a modality not used."""

    structure: StructureChoice | None = None
    dos: DosChoice | None = None
    charge_density: ChargeDensityChoice | None = None
    text: TextChoice | None = None
    xrd: XrdChoice | None = None
    composition: CompositionChoice | None = None

    @model_validator(mode="after")
    def _some(self) -> ModalityChoices:
        if not self.names:
            raise ValueError(f"name at least one of {', '.join(MODALITIES)}")
        return self

    @property
    def names(self) -> tuple[Modality, ...]:
        """The modalities used, in the order of the vocabulary."""
        return tuple(name for name in MODALITIES if getattr(self, name) is not None)

    def chosen(self) -> dict[Modality, ModalityChoice]:
        """Give the choice for each modality used."""
        return {name: cast(ModalityChoice, getattr(self, name)) for name in self.names}

    def featurizers(self) -> dict[Modality, Featurizer]:
        """Give the featurizer of each modality used."""
        return {name: choice.featurizer for name, choice in self.chosen().items()}
