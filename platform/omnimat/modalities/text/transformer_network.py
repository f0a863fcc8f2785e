"""A small transformer over the tokens of a description, trained from scratch.

It has pre-norm blocks (Xiong et al., 2020) and learned positions as in BERT (Devlin et al., 2019).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omnimat.modalities.text.pooling import padded, pooled
from omnimat.modalities.text.transformer import TextTransformerSettings

_INITIAL_SCALE = 0.02  # that of BERT; torch's default of 1 would drown out what the blocks add


class TextTransformer(nn.Module):
    """Maps token ids to embeddings."""

    def __init__(self, settings: TextTransformerSettings, embedding_dim: int) -> None:
        super().__init__()
        width = settings.token_width
        self.pooling = settings.pooling
        self.tokens = nn.Embedding(settings.vocabulary_size, width)
        self.positions = nn.Embedding(settings.max_tokens, width)
        block = nn.TransformerEncoderLayer(
            width,
            settings.num_heads,
            settings.mlp_width,
            settings.dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(
            block, settings.num_blocks, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.head = nn.Linear(width, embedding_dim)
        for table in (self.tokens, self.positions):
            nn.init.normal_(table.weight, std=_INITIAL_SCALE)

    def forward(self, arrays: Mapping[str, Tensor]) -> Tensor:
        """Embed n descriptions.

        Args:
            arrays: ``token_ids`` (n, longest), a text a row, and ``num_tokens`` (n,).

        Returns:
            The embeddings, shape (n, embedding_dim).
        """
        num_tokens = arrays["num_tokens"]
        ids, is_token = padded(arrays["token_ids"], num_tokens, padding_id=0)
        places = torch.arange(ids.shape[1], device=ids.device)
        states = self.tokens(ids) + self.positions(places)
        states = self.blocks(states, src_key_padding_mask=~is_token)
        embeddings: Tensor = self.head(pooled(states, is_token, self.pooling, len(num_tokens)))
        return embeddings
