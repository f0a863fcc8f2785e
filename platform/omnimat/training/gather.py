"""Collectives over workers, with and without gradient; embeddings are exchanged only here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from omnimat.nn.batch_norm import BatchNorm
from omnimat.objectives.embeddings import Embeddings

T = TypeVar("T")


def gather_embeddings(local: Embeddings, num_rows: Sequence[int]) -> Embeddings:
    """Join the embeddings of all workers in rank order; gradients flow back to their workers.

    Predictions are left out, because each of them stands alone in its loss.

    Each worker's loss is its share of the global loss, and the backward pass sums over workers, so
    a worker gets the whole gradient of its rows.

    Args:
        local: this worker's rows.
        num_rows: number of rows of each worker in rank order, which every worker knows beforehand.

    Raises:
        ValueError: this worker has another number of rows.
    """
    if dist.get_world_size() == 1:
        return local
    names = list(local.values)
    values = torch.stack([local.values[name] for name in names], dim=1)
    present = torch.stack([local.present[name] for name in names], dim=1)
    all_values = gather_with_gradient(values, num_rows)
    all_present = _gather(present, num_rows)
    return Embeddings(
        values={name: all_values[:, i] for i, name in enumerate(names)},
        present={name: all_present[:, i] for i, name in enumerate(names)},
    )


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor, num_rows: Sequence[int]) -> Tensor:
        ctx.num_rows = num_rows
        return _gather(local, num_rows)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        padded = _with_padding(gradient.contiguous(), ctx.num_rows)
        own = padded.new_empty(max(ctx.num_rows), *padded.shape[1:])
        dist.reduce_scatter_tensor(own, padded)
        return own[: ctx.num_rows[dist.get_rank()]], None


def gather_with_gradient(local: Tensor, num_rows: Sequence[int]) -> Tensor:
    """Join the rows of all workers in rank order, (own rows, ...) -> (all rows, ...).

    The gradient of a worker's rows is summed over the losses of all workers.

    Args:
        local: this worker's rows.
        num_rows: number of rows of each worker in rank order.

    Raises:
        ValueError: this worker has another number of rows.
    """
    return _Gather.apply(local, num_rows)  # type: ignore[no-untyped-call, no-any-return]


def _gather(local: Tensor, num_rows: Sequence[int]) -> Tensor:
    planned = num_rows[dist.get_rank()]
    if len(local) != planned:
        raise ValueError(f"this worker has {len(local)} rows to exchange instead of {planned}")
    # Collectives take equal shapes only, so shorter tensors travel with rows of zeros at their end.
    padded = _padded(local.contiguous(), max(num_rows))
    everyone = padded.new_empty(len(num_rows) * len(padded), *padded.shape[1:])
    dist.all_gather_into_tensor(everyone, padded)
    return _without_padding(everyone, num_rows)


def _padded(rows: Tensor, num_rows: int) -> Tensor:
    if len(rows) == num_rows:
        return rows
    return torch.cat([rows, rows.new_zeros(num_rows - len(rows), *rows.shape[1:])])


def _with_padding(everyone: Tensor, num_rows: Sequence[int]) -> Tensor:
    """Give every worker's rows as many places; nothing is copied where they have them already."""
    if min(num_rows) == max(num_rows):
        return everyone
    parts = torch.split(everyone, list(num_rows))
    return torch.cat([_padded(part, max(num_rows)) for part in parts])


def _without_padding(everyone: Tensor, num_rows: Sequence[int]) -> Tensor:
    """Undo ``_with_padding``."""
    if min(num_rows) == max(num_rows):
        return everyone
    parts = torch.split(everyone, max(num_rows))
    return torch.cat([part[:number] for part, number in zip(parts, num_rows, strict=True)])


def make_batch_norm_global(model: nn.Module) -> None:
    """Let every batch norm see the moments of the global batch, so that N workers equal one."""
    world_size = dist.get_world_size()
    if world_size == 1:
        return
    one_each = (1,) * world_size

    def reduce_moments(own: Tensor) -> Tensor:
        return gather_with_gradient(own[None], one_each)

    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.reduce_moments = reduce_moments


def sum_over_workers(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all workers, without gradient."""
    total = values.detach().clone()
    dist.all_reduce(total)
    return total


def agree(value: T) -> T:
    """Return rank 0's value on every worker."""
    holder = [value]
    dist.broadcast_object_list(holder)
    return holder[0]


def join_over_workers(mapping: Mapping[str, str]) -> dict[str, str]:
    """Merge the mappings of all workers; where several have a key, the last rank's value wins."""
    parts: list[Mapping[str, str]] = [{} for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, mapping)
    return {key: value for part in parts for key, value in part.items()}
