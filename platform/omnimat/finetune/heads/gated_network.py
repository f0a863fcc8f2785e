"""Fusion by the gated multimodal unit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omnimat.finetune.heads.fusion import FusionSettings
from omnimat.finetune.heads.fusion_network import Fusion


class Gated(Fusion):
    """The gated multimodal unit (Arevalo et al., 2017), its gates a softmax over what is present.

    Every feature of the result is a weighted mean of what the present modalities propose for it,
    and its gates see all of them. So its scale does not depend on how many modalities there are.
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
        self.proposals = nn.ModuleList(nn.Linear(embedding_dim, width) for _ in modalities)
        self.gates = nn.Linear(len(modalities) * embedding_dim, len(modalities) * width)
        self.head = nn.Linear(width, num_outputs)

    def fuse(self, values: Tensor, present: Tensor) -> Tensor:
        """Map (n, M, d) values and the (n, M) mask to (n, num_outputs)."""
        filled = torch.where(present[..., None], values, self.absent)
        each = zip(self.proposals, filled.unbind(1), strict=True)
        proposed = torch.tanh(torch.stack([linear(value) for linear, value in each], dim=1))
        logits = self.gates(filled.flatten(1)).unflatten(1, (len(self.modalities), -1))
        # The lowest number instead of -inf, which would give NaN for a material without modalities.
        lowest = torch.finfo(logits.dtype).min
        weights = logits.masked_fill(~present[..., None], lowest).softmax(dim=1)
        fused: Tensor = self.head((weights * proposed).sum(dim=1))
        return fused
