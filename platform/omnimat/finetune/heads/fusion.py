"""What the settings of all fusions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, PositiveInt

from omnimat.base.registry import imported
from omnimat.base.settings import PresetSettings
from omnimat.finetune.heads.head import HeadSettings

if TYPE_CHECKING:
    from torch import nn


class FusionSettings(HeadSettings, PresetSettings):
    """What every fusion can be told; UniMat gives no width, these are ours.

    Attributes:
        network: import path (``module:name``) of the fusion that is built.
        hidden_width: the width of the layers between the embeddings and the outputs.
        modality_dropout: the chance that training hides a modality that is there, but never all of
            a material's. Without it, and with complete training records, a fusion still takes any
            subset, but has never learned what a missing modality means.
    """

    network: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"hidden_width": 32},
    }
    hidden_width: PositiveInt = 256
    modality_dropout: float = Field(default=0.0, ge=0, lt=1)

    def build(self, modalities: Sequence[str], embedding_dim: int, num_outputs: int) -> nn.Module:
        """Build the network; see ``HeadSettings.build``."""
        network: nn.Module = imported(self.network)(self, modalities, embedding_dim, num_outputs)
        return network
