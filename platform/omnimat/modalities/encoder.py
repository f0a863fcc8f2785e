"""What the settings of every encoder can say."""

from __future__ import annotations

from typing import ClassVar, Self

from torch import nn

from omnimat.base.settings import PresetSettings
from omnimat.modalities.layout import Featurizer


class EncoderSettings(PresetSettings):
    """Settings that build an encoder; a subclass has a literal ``type`` and its own ``build``.

    Attributes:
        modalities: what an encoder of another package serves (see ``registry.ENCODERS``). Where a
            modality's folder names its encoders, this is not needed.
    """

    modalities: ClassVar[tuple[str, ...]] = ()
    type: str

    def build(self, embedding_dim: int) -> nn.Module:
        """Build a module from a mapping of arrays to (n, embedding_dim)."""
        raise NotImplementedError

    def fitted_to(self, featurizer: Featurizer) -> Self:
        """Give the settings that fit a featurizer's arrays, widths that follow from it filled in.

        Raises:
            ValueError: the encoder cannot read these arrays; the message says what to change.
        """
        del featurizer
        return self

    def located(self) -> Self:
        """Give the same settings, complete in themselves: files that they name are identified.

        Raises:
            UserError: a file is not to be had.
        """
        return self

    def exported(self) -> Self:
        """Give the settings that rebuild the module for trained weights, without any other file."""
        return self
