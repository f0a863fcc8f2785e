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
        valid: (N,) booleans, which keys are compared.
        first: the place among the keys of the first query's own key; those of the others follow.
            A query is valid if its own key is.
        reduction: what is made of a row of logits.
        block_size: how many rows and columns of logits are held at a time, at most.
    """

    valid: Tensor
    first: int
    reduction: RowReduction
    block_size: int

    def mask_(self, logits: Tensor, row: int = 0, column: int = 0) -> None:
        """Take out of a block of logits what is not compared, in place.

        Args:
            logits: (n, m) logits of the queries from ``row`` on with the keys from ``column`` on.
                A query that is not valid gets logits of zero, as it must have some to be reduced.
            row: number of the first query.
            column: number of the first key.
        """
        place = self.first + row
        are_keys = self.valid[column : column + logits.shape[1]]
        are_queries = self.valid[place : place + logits.shape[0]]
        logits.masked_fill_(~are_keys, -math.inf)
        if self.reduction.excludes_positives:
            logits.diagonal(place - column).fill_(-math.inf)
        logits.masked_fill_(~are_queries[:, None], 0.0)


def reduce_rows(
    queries: Tensor, keys: Tensor, inverse_temperature: Tensor, comparison: Comparison
) -> Tensor:
    """Reduce the logits of every query, in float32 or better.

    Args:
        queries: (B, d).
        keys: (N, d).
        inverse_temperature: one positive number, by which similarities are multiplied.
        comparison: which of them are compared, and how.

    Returns:
        (B,), with a gradient to queries, keys and inverse temperature. Keys that are not compared
        get a gradient of exactly zero. What queries get that are not valid is finite and must not
        be used.
    """
    if max(len(queries), len(keys)) > comparison.block_size:
        return _Blocked.apply(  # type: ignore[no-untyped-call, no-any-return]
            queries, keys, inverse_temperature, comparison
        )
    logits = widened(queries) @ widened(keys).T
    logits = logits * inverse_temperature.to(logits.dtype)
    comparison.mask_(logits)
    reduction = comparison.reduction
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
                to_queries.mul_(blocks.factor).to(queries.dtype),
                to_keys.mul_(blocks.factor).to(keys.dtype),
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
        wide = widened(queries)
        return cls(wide, widened(keys), inverse_temperature.to(wide.dtype), comparison)

    def row_slices(self) -> Iterator[slice]:
        return slices(len(self.queries), self.comparison.block_size)

    def logits(self, rows: slice) -> Iterator[tuple[slice, Tensor]]:
        """Give the blocks of some rows from left to right, each with its columns."""
        scaled = self.queries[rows] * self.factor
        for columns in slices(len(self.keys), self.comparison.block_size):
            block = scaled @ self.keys[columns].T
            self.comparison.mask_(block, rows.start, columns.start)
            yield columns, block


def slices(length: int, size: int) -> Iterator[slice]:
    """Cut a range into pieces of one size; the last piece may be shorter."""
    return (slice(start, min(start + size, length)) for start in range(0, length, size))
