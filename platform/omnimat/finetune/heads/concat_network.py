"""Fusion by concatenation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omnimat.finetune.heads.fusion import FusionSettings
from omnimat.finetune.heads.fusion_network import Fusion


class Concat(Fusion):
    """Concatenation and three linear layers (UniMat, Ock et al., 2024).

    In place of a missing modality there is a learned token, which is zero at first.
    """

    def __init__(
        self,
        settings: FusionSettings,
        modalities: Sequence[str],
        embedding_dim: int,
        num_outputs: int,
    ) -> None:
        super().__init__(settings, modalities)
        width = settings.hidden_width
        self.absent = nn.Parameter(torch.zeros(len(modalities), embedding_dim))
        self.layers = nn.Sequential(
            nn.Linear(len(modalities) * embedding_dim, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, num_outputs),
        )

    def fuse(self, values: Tensor, present: Tensor) -> Tensor:
        """Map (n, M, d) values and the (n, M) mask to (n, num_outputs)."""
        filled = torch.where(present[..., None], values, self.absent)
        fused: Tensor = self.layers(filled.flatten(1))
        return fused
