"""Ragged token ids as a padded batch, and a batch of token states as one vector a text."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Pooling = Literal["cls", "mean"]


def padded(token_ids: Tensor, num_tokens: Tensor, padding_id: int) -> tuple[Tensor, Tensor]:
    """Pad n texts to the longest.

    No texts give one row of one token, whose state ``pooled`` drops: attention kernels refuse
    empty batches, and so every parameter still takes part and gets a zero gradient.

    Args:
        token_ids: (total,) ids of all texts one after another.
        num_tokens: (n,) ids of each.
        padding_id: what fills up.

    Returns:
        Ids (max(n, 1), longest) int64 and the boolean mask of the same shape, true at tokens.
    """
    if num_tokens.numel() == 0:
        ids = token_ids.new_full((1, 1), padding_id, dtype=torch.int64)
        return ids, torch.ones_like(ids, dtype=torch.bool)
    places = torch.arange(int(num_tokens.max()), device=token_ids.device)
    is_token = places < num_tokens[:, None]
    ids = torch.full(is_token.shape, padding_id, dtype=torch.int64, device=token_ids.device)
    return ids.masked_scatter(is_token, token_ids.long()), is_token


def pooled(states: Tensor, is_token: Tensor, pooling: Pooling, num_texts: int) -> Tensor:
    """Take the first token's state, or the mean over tokens: (rows, longest, d) to (n, d)."""
    if pooling == "cls":
        return states[:num_texts, 0]
    weights = is_token[..., None].to(states.dtype)
    return ((states * weights).sum(dim=1) / weights.sum(dim=1))[:num_texts]
