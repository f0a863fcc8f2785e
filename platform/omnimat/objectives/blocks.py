"""Reductions over the rows of a similarity matrix that is never held whole.

A contrastive loss needs one number for each query: a reduction of its logits against all keys. Its
gradient needs the logits again, but only a block of them at a time. So the forward pass keeps
nothing but that number, and the backward pass computes every block anew, as FlashAttention does for
its softmax (Dao et al. 2022, arXiv 2205.14135). Memory is linear in the batch, at the price of two
more matrix products. A matrix no larger than one block is computed whole by torch's own autograd.

Row chunks under torch's checkpoint, as in ``tensor_clip.py``, are simpler. Here they took 1.4 times
the CPU seconds at 32,768 rows, and 4.3 GB instead of 0.2 GB: glibc does not reuse the memory of the
chunks, between which small tensors of the graph lie.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from omnimat.nn.precision import single_precision, widened


class RowReduction(Protocol):
    """A reduction of each row of the logits that can take them block by block."""

    @property
    def initial(self) -> float:
        """The value over no logits."""

    @property
    def excludes_positives(self) -> bool:
        """Whether a query's own key is left out."""

    def merge(self, total: Tensor, logits: Tensor) -> Tensor:
        """Add a block of (n, m) logits to the (n,) values so far, and give the new (n,)."""

    def slope(self, total: Tensor, logits: Tensor) -> Tensor:
        """Give the derivative of the (n,) result by (n, m) logits, which may be overwritten."""


@dataclass(frozen=True)
class LogSumExp:
    """The logarithm of the sum of exponentials, with or without the positive."""

    excludes_positives: bool = False
    initial: ClassVar[float] = -math.inf

    def merge(self, total: Tensor, logits: Tensor) -> Tensor:
        """Add a block."""
        return torch.logaddexp(total, logits.logsumexp(1))

    def slope(self, total: Tensor, logits: Tensor) -> Tensor:
        """Give the softmax."""
        return logits.sub_(total[:, None]).exp_()


@dataclass(frozen=True)
class SoftplusSum:
    """The sum of log(1 + exp(logit + bias))."""

    bias: float
    initial: ClassVar[float] = 0.0
    excludes_positives: ClassVar[bool] = False

    def merge(self, total: Tensor, logits: Tensor) -> Tensor:
        """Add a block."""
        # torch's softplus is linear above 20, and off by 2e-9 there.
        return total - functional.logsigmoid(-(logits + self.bias)).sum(1)

    def slope(self, total: Tensor, logits: Tensor) -> Tensor:
        """Give the probabilities."""
        return logits.add_(self.bias).sigmoid_()


@dataclass(frozen=True)
class Comparison:
    """Which rows of two tensors are compared, and what is made of each row of logits.

    Attributes:
        query_rows: (n,) the rows of the queries, each once.
        key_rows: (m,) the rows of the keys, each once.
        positives: (n,) the place among ``key_rows`` of each query's own key.
        reduction: what is made of a row of logits.
        block_size: how many rows and columns of logits are held at a time, at most.
    """

    query_rows: Tensor
    key_rows: Tensor
    positives: Tensor
    reduction: RowReduction
    block_size: int


def reduce_rows(
    queries: Tensor, keys: Tensor, inverse_temperature: Tensor, comparison: Comparison
) -> Tensor:
    """Reduce the logits of every query, in float32 or better.

    Args:
        queries: (B, d).
        keys: (N, d).
        inverse_temperature: one positive number, by which similarities are multiplied.
        comparison: which n queries are compared with which keys, and how.

    Returns:
        (n,), with a gradient to queries, keys and inverse temperature; rows that are not compared
        get a gradient of exactly zero.
    """
    if max(len(comparison.query_rows), len(comparison.key_rows)) > comparison.block_size:
        return _Blocked.apply(  # type: ignore[no-untyped-call, no-any-return]
            queries, keys, inverse_temperature, comparison
        )
    chosen = widened(queries.index_select(0, comparison.query_rows))
    logits = chosen @ widened(keys.index_select(0, comparison.key_rows)).T
    logits = logits * inverse_temperature.to(logits.dtype)
    reduction = comparison.reduction
    if reduction.excludes_positives:
        logits = logits.scatter(1, comparison.positives[:, None], -math.inf)
    return reduction.merge(logits.new_full((len(logits),), reduction.initial), logits)


class _Blocked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        keys: Tensor,
        inverse_temperature: Tensor,
        comparison: Comparison,
    ) -> Tensor:
        blocks = _Blocks.of(queries, keys, inverse_temperature, comparison)
        reduction = comparison.reduction
        totals = blocks.queries.new_full((len(blocks.queries),), reduction.initial)
        for rows in blocks.row_slices():
            for _, logits in blocks.logits(rows):
                totals[rows] = reduction.merge(totals[rows], logits)
        ctx.save_for_backward(queries, keys, inverse_temperature, totals)
        ctx.comparison = comparison
        return totals

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        queries, keys, inverse_temperature, totals = ctx.saved_tensors
        comparison: Comparison = ctx.comparison
        # A backward pass started under autocast would round these products.
        with single_precision(gradient.device):
            blocks = _Blocks.of(queries, keys, inverse_temperature, comparison)
            to_queries = torch.zeros_like(blocks.queries)
            to_keys = torch.zeros_like(blocks.keys)
            for rows in blocks.row_slices():
                for columns, logits in blocks.logits(rows):
                    slope = comparison.reduction.slope(totals[rows], logits)
                    slope.mul_(gradient[rows, None])
                    to_queries[rows].addmm_(slope, blocks.keys[columns])
                    to_keys[columns].addmm_(slope.T, blocks.queries[rows])
            # The logits are the factor times the queries times the keys.
            to_factor = (to_queries * blocks.queries).sum()
            return (
                _scatter(to_queries.mul_(blocks.factor), comparison.query_rows, queries),
                _scatter(to_keys.mul_(blocks.factor), comparison.key_rows, keys),
                to_factor.expand_as(inverse_temperature).to(inverse_temperature.dtype),
                None,
            )


@dataclass(frozen=True)
class _Blocks:
    """Gives the logits one block at a time."""

    queries: Tensor
    keys: Tensor
    factor: Tensor
    comparison: Comparison

    @classmethod
    def of(
        cls, queries: Tensor, keys: Tensor, inverse_temperature: Tensor, comparison: Comparison
    ) -> _Blocks:
        chosen = widened(queries.index_select(0, comparison.query_rows))
        return cls(
            chosen,
            widened(keys.index_select(0, comparison.key_rows)),
            inverse_temperature.to(chosen.dtype),
            comparison,
        )

    def row_slices(self) -> Iterator[slice]:
        return slices(len(self.queries), self.comparison.block_size)

    def logits(self, rows: slice) -> Iterator[tuple[slice, Tensor]]:
        """Give the blocks of some rows from left to right, each with its columns."""
        scaled = self.queries[rows] * self.factor
        positives = self.comparison.positives[rows]
        for columns in slices(len(self.keys), self.comparison.block_size):
            block = scaled @ self.keys[columns].T
            if self.comparison.reduction.excludes_positives:
                places = positives - columns.start
                inside = ((places >= 0) & (places < block.shape[1])).nonzero().squeeze(1)
                block[inside, places[inside]] = -math.inf
            yield columns, block


def slices(length: int, size: int) -> Iterator[slice]:
    """Cut a range into pieces of one size; the last piece may be shorter."""
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def _scatter(gradient: Tensor, rows: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like).index_copy_(0, rows, gradient.to(like.dtype))
