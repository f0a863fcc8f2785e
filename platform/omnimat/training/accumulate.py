"""Exact gradients of batches larger than memory: micro-batches joined by cached embeddings.

The negatives of a contrastive loss are the whole batch, so adding up the losses of micro-batches
would change it. Instead, as in GradCache (Gao et al. 2021, arXiv 2101.06983):

1. every micro-batch is embedded without a graph;
2. the loss of all embeddings together gives the gradient with respect to each embedding;
3. every micro-batch is embedded again, with its graph, and that gradient is propagated through it.

Loss and gradient are those of the whole batch, at the price of one more forward pass, and no more
than one micro-batch has its graph in memory. Random numbers (dropout) are the same in both passes.

Batch normalisation is the exception: in training it normalises each micro-batch by that
micro-batch's own statistics, which a second pass cannot undo. So k micro-batches give what k small
batches would give under a loss that spans them all. Running statistics are updated once for each
micro-batch, not twice. Without batch normalisation, or with it in evaluation mode, all is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omnimat.nn.checkpointing import buffers_kept
from omnimat.objectives.embeddings import Embeddings

Embedded = tuple[Embeddings, Tensor]


def accumulate_gradients(
    model: nn.Module,
    micro_batches: Sequence[tuple[Any, ...]],
    loss_of: Callable[[Embeddings, Tensor], Tensor],
    backward: Callable[[Tensor], Any] = torch.Tensor.backward,
) -> Tensor:
    """Add the gradient of the whole batch's loss to the parameters.

    Args:
        model: model that is called as ``model(*micro_batch)`` and returns embeddings and the
            ``logit_scale`` of shape (1,), as ``Multimodal`` does. Every call has to return the same
            ``logit_scale``.
        micro_batches: arguments of each call. There is at least one; sizes may differ.
        loss_of: returns the loss of this worker's embeddings, joined in the order of the
            micro-batches. It may gather those of other workers, with gradient.
        backward: runs the backward pass of a scalar. It is called once for each micro-batch, and
            the gradients have to add up without a factor.

    Returns:
        The loss, a scalar without a graph.
    """
    with buffers_kept(model):
        seeds = []
        cached = []
        for arguments in micro_batches:
            seeds.append(_rng_states())
            with torch.no_grad():
                cached.append(model(*arguments))
    loss, gradients, to_scale = _loss_and_gradients(cached, loss_of)
    for arguments, seed, gradient in zip(micro_batches, seeds, gradients, strict=True):
        _set_rng_states(seed)
        embeddings, logit_scale = model(*arguments)
        # Zero after the first micro-batch. It is added all the same, because ZeRO expects every
        # backward pass to reach every parameter.
        total = (logit_scale * to_scale).sum()
        to_scale = torch.zeros_like(to_scale)
        for name, values in embeddings.outputs.items():
            total = total + (values * gradient[name]).sum()
        backward(total)
    return loss


def _loss_and_gradients(
    cached: Sequence[Embedded], loss_of: Callable[[Embeddings, Tensor], Tensor]
) -> tuple[Tensor, list[dict[Any, Tensor]], Tensor]:
    """Return the loss and its gradients: for each micro-batch's outputs and for the scale."""
    parts = [embeddings for embeddings, _ in cached]
    joined = _joined(parts)
    for leaf in joined.outputs.values():
        leaf.requires_grad_()
    logit_scale = cached[0][1].detach().clone().requires_grad_()
    loss = loss_of(joined, logit_scale)
    *to_outputs, to_scale = torch.autograd.grad(
        loss, [*joined.outputs.values(), logit_scale], allow_unused=True, materialize_grads=True
    )
    sizes = [len(next(iter(part.present.values()))) for part in parts]
    split = [torch.split(gradient, sizes) for gradient in to_outputs]
    names = list(joined.outputs)
    by_batch = [dict(zip(names, pieces, strict=True)) for pieces in zip(*split, strict=True)]
    return loss.detach(), by_batch, to_scale


def _joined(parts: Sequence[Embeddings]) -> Embeddings:
    def along_rows(mappings: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.cat([one[name] for one in mappings]) for name in mappings[0]}

    return Embeddings(
        values=along_rows([part.values for part in parts]),
        present=along_rows([part.present for part in parts]),
        predictions=along_rows([part.predictions for part in parts]),
    )


def _rng_states() -> list[Tensor]:
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def _set_rng_states(states: Sequence[Tensor]) -> None:
    torch.set_rng_state(states[0])
    torch.cuda.set_rng_state_all(states[1:])
