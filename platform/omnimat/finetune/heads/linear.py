"""The settings of one linear layer on all embeddings side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from omnimat.finetune.heads.head import HeadSettings

if TYPE_CHECKING:
    from torch import nn


class LinearSettings(HeadSettings):
    """Settings of the linear head, of which there are none."""

    type: Literal["linear"] = "linear"

    def build(self, modalities: Sequence[str], embedding_dim: int, num_outputs: int) -> nn.Module:
        """Build the network; see ``HeadSettings.build``."""
        from omnimat.finetune.heads.linear_network import Linear

        return Linear(len(modalities) * embedding_dim, num_outputs)
