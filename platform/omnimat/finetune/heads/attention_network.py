"""Fusion by self-attention over modalities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.finetune.heads.attention import AttentionSettings
from omnimat.finetune.heads.fusion_network import Fusion


class Attention(Fusion):
    """Self-attention of a material's tokens and a readout token, from which the outputs are read.

    Keys of missing modalities are masked, so they change nothing.
    """

    def __init__(
        self,
        settings: AttentionSettings,
        modalities: Sequence[str],
        embedding_dim: int,
        num_outputs: int,
    ) -> None:
        super().__init__(settings, modalities)
        width = settings.hidden_width
        self.project = nn.Linear(embedding_dim, width)
        self.kinds = nn.Parameter(0.02 * torch.randn(len(modalities), width))
        self.readout = nn.Parameter(0.02 * torch.randn(1, width))
        self.blocks = nn.ModuleList(
            _MaskedBlock(width, settings.num_heads) for _ in range(settings.num_blocks)
        )
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, num_outputs))

    def fuse(self, values: Tensor, present: Tensor) -> Tensor:
        """Map (n, M, d) values and the (n, M) mask to (n, num_outputs)."""
        # What is masked still flows through the layers; zeros keep it finite.
        embedded = self.project(torch.where(present[..., None], values, 0)) + self.kinds
        readout = self.readout.to(embedded.dtype).expand(len(values), 1, -1)
        tokens = torch.cat([readout, embedded], dim=1)
        can_be_seen = F.pad(present, (1, 0), value=True)
        for block in self.blocks:
            tokens = block(tokens, can_be_seen)
        fused: Tensor = self.head(tokens[:, 0])
        return fused


class _MaskedBlock(nn.Module):
    """Attention and an MLP, each after a layer norm and with a residual."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor, can_be_seen: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape; the (n, tokens) mask tells which are seen."""
        joint = self.query_key_value(self.attention_norm(tokens))
        query, key, value = joint.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        heads = value
        if len(tokens):  # CUDA's fused kernels refuse an empty batch (pytorch issue 133780).
            mask = can_be_seen[:, None, None]
            heads = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        tokens = tokens + self.attended(heads.transpose(1, 2).flatten(2))
        transformed: Tensor = tokens + self.mlp(tokens)
        return transformed
