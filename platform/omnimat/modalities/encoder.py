"""The settings that all encoders share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from omnimat.base.registry import imported
from omnimat.base.settings import PresetSettings
from omnimat.modalities.layout import Featurizer

if TYPE_CHECKING:
    from torch import nn


class EncoderSettings(PresetSettings):
    """Settings that build an encoder; each subclass has a literal ``type``.

    Settings are read by whoever only checks a job file, so the network, which needs torch, is
    another file, and imported when it is built. Its deep part is an ``nn.ModuleList`` of layers,
    which ``training.activation_checkpointing`` computes again in the backward pass.

    Attributes:
        modalities: modalities that an encoder of another package serves (see
            ``registry.ENCODERS``). It is not needed where the modality's folder names the encoder.
        network: import path (``module:name``) of the network, which is made of the settings and
            the width of the embedding.
        has_fixed_shapes: whether the arrays of all materials have the same shapes, so that the
            network can be compiled once for all batches.
    """

    modalities: ClassVar[tuple[str, ...]] = ()
    network: ClassVar[str]
    has_fixed_shapes: ClassVar[bool] = False
    type: str

    @property
    def outside(self) -> str | None:
        """What its network is built from besides its settings, such as a model; None for most."""
        return None

    def build(self, embedding_dim: int) -> nn.Module:
        """Build the network, which maps arrays to embeddings of shape (n, embedding_dim).

        Raises:
            UserError: what the network is built from besides its settings cannot be used.
        """
        network: nn.Module = imported(self.network)(self, embedding_dim)
        return network

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
