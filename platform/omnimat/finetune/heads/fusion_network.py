"""What fusions share: heads that learn what to do where a modality is missing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omnimat.finetune.heads.fusion import FusionSettings
from omnimat.finetune.heads.tokens import Tokens


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
