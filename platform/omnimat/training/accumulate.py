"""Batches larger than memory, exactly: micro-batches joined through cached embeddings.

Adding up the losses of micro-batches would change a contrastive loss, whose negatives are the whole
batch. Instead (GradCache, Gao et al. 2021, arXiv 2101.06983):

1. every micro-batch is embedded without a graph;
2. the loss of all embeddings together gives the gradient of each embedding;
3. every micro-batch is embedded again, with its graph, and that gradient is sent through it.

Loss and gradient are those of the whole batch, for one more forward pass, while no more than one
micro-batch has its graph in memory. Random numbers (dropout) are drawn alike in both passes.

Batch normalisation is the exception: in training it normalises a micro-batch by that micro-batch's
own statistics, which no second pass can mend, so k micro-batches give what k small batches would,
under a loss that spans them. Its running statistics move once for each micro-batch, not twice.
Models without it, or with it in evaluation mode, are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

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
        model: called as ``model(*micro_batch)``, gives embeddings and the (1,) ``logit_scale``, as
            ``Multimodal`` does. Every call has to give the same ``logit_scale``.
        micro_batches: arguments of each call, at least one; they may differ in size.
        loss_of: the loss of this worker's embeddings, micro-batch after micro-batch; may gather
            those of other workers, with gradient.
        backward: how a scalar is sent backwards; called once for each micro-batch, and its
            gradients have to add up without a factor.

    Returns:
        The loss, a scalar without graph.
    """
    with _buffers_kept(model):
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
        # Zeros after the first: every backward pass reaches every parameter, as ZeRO wants it.
        total = (logit_scale * to_scale).sum()
        to_scale = torch.zeros_like(to_scale)
        for modality, values in embeddings.values.items():
            total = total + (values * gradient[modality]).sum()
        backward(total)
    return loss


def _loss_and_gradients(
    cached: Sequence[Embedded], loss_of: Callable[[Embeddings, Tensor], Tensor]
) -> tuple[Tensor, list[dict[Any, Tensor]], Tensor]:
    """Give the loss, its gradient by each micro-batch's embeddings, and that by the scale."""
    parts = [embeddings for embeddings, _ in cached]
    names = list(parts[0].values)
    values = {name: torch.cat([p.values[name] for p in parts]).requires_grad_() for name in names}
    present = {name: torch.cat([p.present[name] for p in parts]) for name in names}
    logit_scale = cached[0][1].detach().clone().requires_grad_()
    loss = loss_of(Embeddings(values, present), logit_scale)
    *to_values, to_scale = torch.autograd.grad(
        loss, [*values.values(), logit_scale], allow_unused=True, materialize_grads=True
    )
    sizes = [len(part.present[names[0]]) for part in parts]
    split = [torch.split(gradient, sizes) for gradient in to_values]
    by_batch = [dict(zip(names, pieces, strict=True)) for pieces in zip(*split, strict=True)]
    return loss.detach(), by_batch, to_scale


@contextmanager
def _buffers_kept(model: nn.Module) -> Iterator[None]:
    """Undo what a pass does to running statistics."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)


def _rng_states() -> list[Tensor]:
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def _set_rng_states(states: Sequence[Tensor]) -> None:
    torch.set_rng_state(states[0])
    torch.cuda.set_rng_state_all(states[1:])
