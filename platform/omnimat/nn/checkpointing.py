"""Activation checkpointing: memory of a network's layers traded for a second forward pass.

A layer's intermediate results are not kept for the backward pass but computed again in it, layer by
layer (Chen et al. 2016, arXiv 1604.06174). Losses, gradients and running statistics stay the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def checkpoint_layers(network: nn.Module) -> None:
    """Let each layer of a network compute its intermediate results again in the backward pass.

    Layers are the members of its outermost ``nn.ModuleList``s. Parameters keep their names, and
    random numbers (dropout) are the same in both passes.
    """
    for layer in layers_of(network):
        layer.forward = partial(_checkpointed, layer, layer.forward)


def layers_of(network: nn.Module) -> Iterator[nn.Module]:
    """Give the members of the outermost lists of modules."""
    for child in network.children():
        yield from child if isinstance(child, nn.ModuleList) else layers_of(child)


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Restore the buffers, such as running statistics, at the end of the context."""
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)


def _checkpointed(
    layer: nn.Module, forward: Callable[..., Any], *arguments: Any, **options: Any
) -> Any:
    if not torch.is_grad_enabled():
        return forward(*arguments, **options)
    if torch.compiler.is_compiling():  # which plans the second pass, and tracks nothing in it
        return checkpoint(forward, *arguments, use_reentrant=False, **options)
    contexts = partial(_contexts, layer)
    return checkpoint(forward, *arguments, use_reentrant=False, context_fn=contexts, **options)


def _contexts(
    layer: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Give what is around the first pass and the second, which must not count a batch again."""
    return nullcontext(), buffers_kept(layer)
