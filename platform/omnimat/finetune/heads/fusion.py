"""What fusions share: heads that learn what to do where a modality is missing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from omnimat.base.settings import PresetSettings
from omnimat.finetune.heads.head import HeadSettings
from omnimat.finetune.heads.tokens import Tokens


class FusionSettings(HeadSettings, PresetSettings):
    """What every fusion can be told; UniMat gives no width, these are ours.

    Attributes:
        network: the fusion that is built.
        hidden_width: the width of the layers between the embeddings and the outputs.
        modality_dropout: the chance that training hides a modality that is there, but never all of
            a material's. Without it, and with complete training records, a fusion still takes any
            subset, but has never learned what a missing modality means.
    """

    network: ClassVar[Callable[..., Fusion]]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {},
        "tiny": {"hidden_width": 32},
    }
    hidden_width: PositiveInt = 256
    modality_dropout: float = Field(default=0.0, ge=0, lt=1)

    def build(self, modalities: Sequence[str], embedding_dim: int, num_outputs: int) -> Fusion:
        """Build the network; see ``HeadSettings.build``."""
        return self.network(self, modalities, embedding_dim, num_outputs)


class Fusion(nn.Module, ABC):
    """What the fusions share: modalities hidden in training, and the dtype.

    Attributes:
        modalities: the M modalities, in the order of the tokens.
    """

    def __init__(self, settings: FusionSettings, modalities: Sequence[str]) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.modality_dropout = settings.modality_dropout

    def forward(self, tokens: Tokens) -> Tensor:
        """Fuse what is present.

        Args:
            tokens: those of n materials, where n may be 0; a material may lack any modality.

        Returns:
            (n, num_outputs).
        """
        values = tokens.values.to(next(self.parameters()).dtype)
        return self.fuse(values, self.seen(tokens.present))

    @abstractmethod
    def fuse(self, values: Tensor, present: Tensor) -> Tensor:
        """Map (n, M, d) values and the (n, M) mask to (n, num_outputs)."""

    def seen(self, present: Tensor) -> Tensor:
        """Give the (n, M) mask of what is shown: in training some modalities may be hidden."""
        if not (self.training and self.modality_dropout):
            return present
        chance = torch.rand(present.shape, device=present.device)
        kept = present & (chance >= self.modality_dropout)
        return torch.where(kept.any(dim=1, keepdim=True), kept, present)
