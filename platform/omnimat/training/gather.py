"""Collectives over workers, with and without gradient; embeddings are exchanged only here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from omnimat.nn.batch_norm import BatchNorm
from omnimat.objectives.embeddings import Embeddings

T = TypeVar("T")


def gather_embeddings(local: Embeddings) -> Embeddings:
    """Join the embeddings of all workers in rank order; gradients flow back to their workers.

    Every worker must hold the same number of rows. Each worker's loss is its share of the global
    loss, and the backward pass sums over workers, so a worker gets the whole gradient of its rows.
    """
    if dist.get_world_size() == 1:
        return local
    names = list(local.values)
    values = torch.stack([local.values[name] for name in names], dim=1)
    present = torch.stack([local.present[name] for name in names], dim=1)
    all_values = gather_with_gradient(values).flatten(0, 1)
    all_present = torch.cat(_gather(present))
    return Embeddings(
        values={name: all_values[:, i] for i, name in enumerate(names)},
        present={name: all_present[:, i] for i, name in enumerate(names)},
    )


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        return torch.stack(_gather(local))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        own = torch.empty_like(gradient[0])
        dist.reduce_scatter(own, list(gradient.contiguous()))
        return own


def gather_with_gradient(local: Tensor) -> Tensor:
    """Stack every worker's tensor, (...) -> (world, ...); all must have the same shape.

    The gradient of a worker's tensor is summed over the losses of all workers.
    """
    return _Gather.apply(local)  # type: ignore[no-untyped-call, no-any-return]


def _gather(local: Tensor) -> list[Tensor]:
    parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, local.contiguous())
    return parts


def make_batch_norm_global(model: nn.Module) -> None:
    """Let every batch norm see the moments of the global batch, so that N workers equal one."""
    if dist.get_world_size() == 1:
        return
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.reduce_moments = gather_with_gradient


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
