"""What a worker trains on, made ready one step ahead of the thread that trains.

The values and their order are those of ``micro_batch`` applied to each batch in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from omnimat.modalities.batch import Batch
from omnimat.modalities.upload import Tensors, copied_ahead, tensors_of
from omnimat.stream.worker import Share, WorkerStream
from omnimat.training.loss import MicroBatch


def feed(
    stream: WorkerStream, device: torch.device, first_step: int = 0
) -> Iterator[list[MicroBatch]]:
    """Give the micro-batches of each step from ``first_step`` to the end of the run.

    The first ones are made from now on, so that whoever calls this before they build an engine
    does not wait for what reads and featurizes.

    The stream counts a share when it is given here, so that neither its audit nor its meter knows
    of what only lies ready.

    Raises:
        StreamError: the stream delivers other records than were planned.
    """
    shares = ((share, share.batches) for share in stream.shares(first_step))
    return _counted(copied_ahead(shares, device), stream)


def _counted(
    shares: Iterator[tuple[Share, Sequence[Tensors]]], stream: WorkerStream
) -> Iterator[list[MicroBatch]]:
    for share, copies in shares:
        stream.count(share)
        sizes = (len(batch.material_ids) for batch in share.batches)
        yield list(zip(copies, sizes, strict=True))


def micro_batch(batch: Batch, device: torch.device) -> MicroBatch:
    """Convert one collated batch to tensors on a device, in this thread."""
    copied = {name: one.to(device) for name, one in tensors_of(batch).items()}
    return copied, len(batch.material_ids)
