"""A transformer over the points of a density of states (MultiMat, Moro et al., 2025).

Every grid point is a token that carries its energy. So the grid may differ between materials, and
the encoder needs no positional encoding. The embedding is the mean over the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from omnimat.modalities.dos.transformer import DosTransformerSettings
from omnimat.nn.precision import SinglePrecisionLinear


class DosTransformer(nn.Module):
    """Maps densities of states to embeddings."""

    def __init__(self, settings: DosTransformerSettings, embedding_dim: int) -> None:
        super().__init__()
        self.energy_scale_ev = settings.energy_scale_ev
        self.dos_scale_per_ev = settings.dos_scale_per_ev
        width = settings.token_width
        self.energies = SinglePrecisionLinear(1, width)
        self.densities = SinglePrecisionLinear(1, width)
        self.mix = _mixing_layers(settings.num_mixing_layers, width)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.num_blocks))
        # In the published model the mean is the embedding; a linear map only changes its width.
        same = width == embedding_dim
        self.head = nn.Identity() if same else nn.Linear(width, embedding_dim)

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n densities of states.

        Args:
            arrays: ``energies_ev`` and ``dos_per_ev``, each of shape (n, points).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        energies = self.energies(arrays["energies_ev"][..., None] / self.energy_scale_ev)
        densities = self.densities(arrays["dos_per_ev"][..., None] / self.dos_scale_per_ev)
        tokens = self.mix(torch.cat([energies, densities], dim=-1)).to(self.energies.weight.dtype)
        for block in self.blocks:
            tokens = block(tokens)
        embeddings: Tensor = self.head(tokens.mean(dim=1))
        return embeddings


def _mixing_layers(count: Literal[1, 2], width: int) -> nn.Module:
    last = SinglePrecisionLinear(2 * width, width)
    if count == 1:
        return last
    return nn.Sequential(SinglePrecisionLinear(2 * width, 2 * width), nn.GELU(), last)


class Block(nn.Module):
    """Attention and an MLP, each with a layer norm before it and a skip connection around it."""

    def __init__(self, settings: DosTransformerSettings) -> None:
        super().__init__()
        width, inner = settings.token_width, settings.num_heads * settings.head_width
        self.num_heads = settings.num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * inner, bias=False)
        self.attended = nn.Linear(inner, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, settings.mlp_width),
            nn.GELU(),
            nn.Linear(settings.mlp_width, width),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (n, points, width) to the same shape."""
        tokens = tokens + self._attend(self.attention_norm(tokens))
        transformed: Tensor = tokens + self.mlp(tokens)
        return transformed

    def _attend(self, tokens: Tensor) -> Tensor:
        joint = self.query_key_value(tokens).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = joint.permute(2, 0, 3, 1, 4)
        # CUDA's fused attention kernels reject an empty batch (pytorch issue 133780).
        heads = F.scaled_dot_product_attention(query, key, value) if len(tokens) else value
        attended: Tensor = self.attended(heads.transpose(1, 2).flatten(2))
        return attended
