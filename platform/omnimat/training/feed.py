"""What a worker trains on, made ready one step ahead of the thread that trains.

The values and their order are those of ``micro_batch`` applied to each batch in turn.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from omnimat.modalities.batch import Batch
from omnimat.modalities.upload import copied_ahead, tensors_of
from omnimat.stream.worker import WorkerStream
from omnimat.training.loss import MicroBatch


def feed(
    stream: WorkerStream, device: torch.device, first_step: int = 0
) -> Iterator[list[MicroBatch]]:
    """Give the micro-batches of each step from ``first_step`` to the end of the run.

    The stream counts a share when it is given here, so that neither its audit nor its meter knows
    of what only lies ready.

    Raises:
        StreamError: the stream delivers other records than were planned.
    """
    shares = ((share, share.batches) for share in stream.shares(first_step))
    for share, copies in copied_ahead(shares, device):
        stream.count(share)
        sizes = (len(batch.material_ids) for batch in share.batches)
        yield list(zip(copies, sizes, strict=True))


def micro_batch(batch: Batch, device: torch.device) -> MicroBatch:
    """Convert one collated batch to tensors on a device, in this thread."""
    copied = {name: one.to(device) for name, one in tensors_of(batch).items()}
    return copied, len(batch.material_ids)
