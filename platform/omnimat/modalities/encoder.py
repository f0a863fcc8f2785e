"""The settings that all encoders share."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

from torch import nn

from omnimat.base.settings import PresetSettings
from omnimat.modalities.layout import Featurizer


class EncoderSettings(PresetSettings):
    """Settings that build an encoder; each subclass has a literal ``type`` and its own ``build``.

    Attributes:
        modalities: modalities that an encoder of another package serves (see
            ``registry.ENCODERS``). It is not needed where the modality's folder names the encoder.
    """

    modalities: ClassVar[tuple[str, ...]] = ()
    type: str

    @property
    def outside(self) -> str | None:
        """What its network is built from besides its settings, such as a model; None for most."""
        return None

    @abstractmethod
    def build(self, embedding_dim: int) -> nn.Module:
        """Build a module that maps arrays to embeddings of shape (n, embedding_dim)."""

    def fitted_to(self, featurizer: Featurizer) -> Self:
        """Return settings that fit a featurizer's arrays, with the widths that follow from it.

        Raises:
            ValueError: the encoder cannot read these arrays; the message says what to change.
        """
        del featurizer
        return self

    def located(self) -> Self:
        """Return the same settings with the hashes of the files that they name filled in.

        Raises:
            UserError: a file is not available.
        """
        return self

    def exported(self) -> Self:
        """Return settings that rebuild the module for trained weights without any other file."""
        return self
