"""Batches as tensors on a device, made ready by another thread than the one that computes.

That thread makes the batches and, on a GPU, copies them from pinned memory on a CUDA stream of its
own, so that the copy runs beside the work on the batch before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import torch

from omnimat.base.ahead import ahead
from omnimat.modalities.batch import Batch
from omnimat.modalities.tensors import ModalityTensors

T = TypeVar("T")
Tensors = Mapping[str, ModalityTensors]


def copied_ahead(
    items: Iterable[tuple[T, Sequence[Batch]]], device: torch.device
) -> Iterator[tuple[T, Sequence[Tensors]]]:
    """Make items and copy their batches to a device, one item ahead of the caller, from now on.

    Args:
        items: things with their batches; another thread asks for them.
        device: where the tensors are put.
    """
    if device.type != "cuda":
        return ahead(((item, [*map(tensors_of, batches)]) for item, batches in items))
    beside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    copies = ahead((item, *_copied(batches, device, beside)) for item, batches in items)
    return _taken(copies, device)


def _taken(
    copies: Iterator[tuple[T, list[Tensors], torch.cuda.Event]], device: torch.device
) -> Iterator[tuple[T, Sequence[Tensors]]]:
    for item, tensors, is_copied in copies:
        _take(tensors, is_copied, torch.cuda.current_stream(device))
        yield item, tensors


def tensors_of(batch: Batch) -> dict[str, ModalityTensors]:
    """Wrap a collated batch, sharing its memory."""
    return {name: ModalityTensors.from_numpy(arrays) for name, arrays in batch.modalities.items()}


def _copied(
    batches: Sequence[Batch], device: torch.device, beside: torch.cuda.Stream
) -> tuple[list[Tensors], torch.cuda.Event]:
    """Begin to copy batches to a GPU; the event says when they are there."""
    with torch.cuda.stream(beside):
        tensors: list[Tensors] = [
            {name: one.pinned().to(device) for name, one in tensors_of(batch).items()}
            for batch in batches
        ]
        return tensors, beside.record_event()


def _take(
    batches: Sequence[Tensors], is_copied: torch.cuda.Event, stream: torch.cuda.Stream
) -> None:
    """Let a CUDA stream wait for copies, and keep their memory until it has used them."""
    stream.wait_event(is_copied)
    for batch in batches:
        for modality in batch.values():
            for tensor in modality.tensors():
                tensor.record_stream(stream)
