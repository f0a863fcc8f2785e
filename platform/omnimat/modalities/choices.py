"""One choice of featurizer and encoder for each modality: what a job file says of its inputs."""

from __future__ import annotations

from typing import Any, Protocol, Self, cast

from pydantic import ValidationError, model_validator

from omnimat.base.errors import UserError
from omnimat.base.settings import Settings
from omnimat.base.workspace import Workspace
from omnimat.materials.record import MODALITIES, Modality
from omnimat.modalities.charge_density.augment import ChargeDensityAugmentation
from omnimat.modalities.encoders import (
    AnyEncoderSettings,
    ChargeDensityEncoder,
    CompositionEncoder,
    DosEncoder,
    StructureEncoder,
    TextEncoder,
    XrdEncoder,
)
from omnimat.modalities.featurizers import (
    ChargeDensityFeaturizer,
    CompositionFeaturizer,
    DosFeaturizer,
    StructureFeaturizer,
    TextFeaturizer,
    XrdFeaturizer,
)
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.structure.augment import StructureAugmentation
from omnimat.modalities.structure.potnet import PotNetSettings
from omnimat.modalities.text.augment import TextAugmentation
from omnimat.modalities.text.embedding import TextEmbedding
from omnimat.modalities.text.huggingface_encoder import HuggingFaceTextSettings
from omnimat.modalities.text.mlp import TextMlpSettings
from omnimat.modalities.text.tokens import TextTokens
from omnimat.modalities.views import Augmentation
from omnimat.modalities.xrd.augment import XrdAugmentation


class ModalityChoice(Protocol):
    """How one modality is turned into numbers and embedded."""

    @property
    def featurizer(self) -> Featurizer:
        """Record -> arrays."""

    @property
    def encoder(self) -> AnyEncoderSettings:
        """Arrays -> embedding."""

    @property
    def augmentation(self) -> Augmentation[Any] | None:
        """How pretraining varies it; None: not at all. All else sees materials as they are."""


class StructureChoice(Settings):
    """Crystal structure."""

    featurizer: StructureFeaturizer = StructureFeaturizer()
    encoder: StructureEncoder = PotNetSettings()
    augmentation: StructureAugmentation | None = None

    @model_validator(mode="after")
    def _graph_serves_encoder(self) -> Self:
        graph, encoder = self.featurizer, self.encoder
        if encoder.needs_lattice_sums and graph.lattice_sums == "none":
            raise ValueError(
                f"the encoder {encoder.type} takes lattice sums: set featurizer.lattice_sums to "
                "featurized or in_encoder, or encoder.lattice_sums to false"
            )
        if graph.lattice_sums == "in_encoder" and not encoder.needs_lattice_sums:
            raise ValueError(
                f"the encoder {encoder.type} as set here computes no lattice sums: set "
                "featurizer.lattice_sums to none"
            )
        cutoff = encoder.needs_cutoff_angstrom
        if cutoff and (graph.neighbors != "within_cutoff" or graph.cutoff_angstrom < cutoff):
            raise ValueError(
                f"the encoder {encoder.type} takes the neighbours within {cutoff} angstrom: set "
                f"featurizer.neighbors to within_cutoff and featurizer.cutoff_angstrom to {cutoff}"
            )
        return self


class DosChoice(Settings):
    """Density of states."""

    featurizer: DosFeaturizer = DosFeaturizer()
    encoder: DosEncoder = DosEncoder()
    augmentation: None = None


class ChargeDensityChoice(Settings):
    """Charge density."""

    featurizer: ChargeDensityFeaturizer = ChargeDensityFeaturizer()
    encoder: ChargeDensityEncoder = ChargeDensityEncoder()
    augmentation: ChargeDensityAugmentation | None = None


class TextChoice(Settings):
    """Text."""

    featurizer: TextFeaturizer = TextEmbedding()
    encoder: TextEncoder = TextMlpSettings()
    augmentation: TextAugmentation | None = None

    @model_validator(mode="after")
    def _text_serves_encoder(self) -> Self:
        takes_vectors = isinstance(self.encoder, TextMlpSettings)
        if takes_vectors == isinstance(self.featurizer, TextTokens):
            wanted = "text_embedding or huggingface_embedding" if takes_vectors else "text_tokens"
            raise ValueError(
                f"the encoder {self.encoder.type} cannot read what {self.featurizer.type} gives: "
                f"set featurizer.type to {wanted}"
            )
        if isinstance(self.encoder, TextMlpSettings) and not isinstance(
            self.featurizer, TextTokens
        ):
            width = self.featurizer.width
            if width != self.encoder.input_width:
                raise ValueError(
                    f"the featurizer gives {width} numbers a text, the encoder takes "
                    f"{self.encoder.input_width}: set encoder.input_width to {width}"
                )
        for given, taken, what, remedy in self._sizes():
            if given is not None and taken is not None and given > taken:
                raise ValueError(
                    f"the featurizer gives {given} {what}, the encoder takes {taken}: {remedy}"
                )
        return self

    @model_validator(mode="after")
    def _text_is_read(self) -> Self:
        if self.augmentation is None:
            return self
        featurizer = self.featurizer
        if isinstance(featurizer, TextEmbedding) and featurizer.source != "hashed":
            raise ValueError(
                "augmentation: a stored embedding cannot be varied; set featurizer.source to "
                "hashed, or featurizer.type to text_tokens"
            )
        if self.augmentation.masked_tokens:
            if not isinstance(featurizer, TextTokens):
                raise ValueError(
                    "augmentation.masked_tokens: the featurizer gives no tokens; set it to 0, or "
                    "featurizer.type to text_tokens"
                )
            if featurizer.vocabulary_size is not None:
                _ = featurizer.mask_id  # raises where the tokenizer has none
        return self

    def _sizes(self) -> list[tuple[int | None, int | None, str, str]]:
        """Give what the featurizer gives, what the encoder takes, and what to do about it."""
        featurizer, encoder = self.featurizer, self.encoder
        if isinstance(featurizer, TextTokens) and not isinstance(encoder, TextMlpSettings):
            ids = (featurizer.vocabulary_size, encoder.vocabulary_size)
            lengths = (featurizer.max_tokens, encoder.max_tokens)
            return [
                (*ids, "different tokens", f"raise encoder.vocabulary_size to {ids[0]}"),
                (*lengths, "tokens a text", f"set featurizer.max_tokens to {lengths[1]}"),
            ]
        return []

    def located(self, workspace: Workspace) -> Self:
        """Give the same choice holding its tokenizer and what identifies its language model.

        Raises:
            UserError: one of them is not to be had, or they do not go together.
        """
        featurizer, encoder = self.featurizer, self.encoder
        if not isinstance(featurizer, TextEmbedding):
            featurizer = featurizer.located(workspace)
        if isinstance(encoder, HuggingFaceTextSettings):
            encoder = encoder.located()
        try:
            return type(self)(
                featurizer=featurizer, encoder=encoder, augmentation=self.augmentation
            )
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise UserError(f"modalities.text: {reason}") from error


class XrdChoice(Settings):
    """X-ray diffraction."""

    featurizer: XrdFeaturizer = XrdFeaturizer()
    encoder: XrdEncoder = XrdEncoder()
    augmentation: XrdAugmentation | None = None


class CompositionChoice(Settings):
    """Composition."""

    featurizer: CompositionFeaturizer = CompositionFeaturizer()
    encoder: CompositionEncoder = CompositionEncoder()
    augmentation: None = None


class ModalityChoices(Settings):
    """The modalities of a run; one that is left out, or null in a preset, is not used."""

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

    def located(self, workspace: Workspace) -> Self:
        """Give the same choices, complete in themselves: files they name are read in.

        Raises:
            UserError: a file is not to be had.
        """
        if self.text is None:
            return self
        return self.model_copy(update={"text": self.text.located(workspace)})

    def augmentations(self) -> dict[Modality, Augmentation[Any]]:
        """Give the augmentation of each modality that has one."""
        augmentations = {name: choice.augmentation for name, choice in self.chosen().items()}
        return {name: chosen for name, chosen in augmentations.items() if chosen is not None}

    def featurizers(self) -> dict[Modality, Featurizer]:
        """Give the featurizer of each modality used."""
        return {name: choice.featurizer for name, choice in self.chosen().items()}
