"""Pads token ids of several texts to a batch, and pools token states to one vector per text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Pooling = Literal["cls", "mean"]


def padded(token_ids: Tensor, num_tokens: Tensor, padding_id: int) -> tuple[Tensor, Tensor]:
    """Pad n texts to the length of the longest.

    Without any text there is one row with one token, whose state ``pooled`` drops. Attention
    kernels reject empty batches, and in this way every parameter still gets a gradient, of zero.

    Args:
        token_ids: ids of each text in a row of its own, shape (n, longest), whatever stands beyond
            its end; or those of all texts one after another, shape (total,), whose longest length
            a GPU has to be waited for.
        num_tokens: number of ids of each text, shape (n,).
        padding_id: id that fills the shorter texts.

    Returns:
        The ids as int64 and a boolean mask that is true at tokens, both of shape
        (max(n, 1), longest).
    """
    import torch

    if num_tokens.numel() == 0:
        ids = token_ids.new_full((1, 1), padding_id, dtype=torch.int64)
        return ids, torch.ones_like(ids, dtype=torch.bool)
    is_row = token_ids.dim() == 2
    longest = token_ids.shape[1] if is_row else int(num_tokens.max())
    is_token = torch.arange(longest, device=token_ids.device) < num_tokens[:, None]
    if is_row:
        return token_ids.long().masked_fill(~is_token, padding_id), is_token
    ids = torch.full(is_token.shape, padding_id, dtype=torch.int64, device=token_ids.device)
    return ids.masked_scatter(is_token, token_ids.long()), is_token


def pooled(states: Tensor, is_token: Tensor, pooling: Pooling, num_texts: int) -> Tensor:
    """Pool the states of each text.

    Args:
        states: states of the tokens, shape (rows, longest, d).
        is_token: mask that is true at tokens, shape (rows, longest).
        pooling: ``cls`` takes the state of the first token; ``mean`` averages over tokens.
        num_texts: number n of texts; further rows are dropped.

    Returns:
        One vector per text, shape (n, d).
    """
    if pooling == "cls":
        return states[:num_texts, 0]
    weights = is_token[..., None].to(states.dtype)
    return ((states * weights).sum(dim=1) / weights.sum(dim=1))[:num_texts]
