"""A few steps of training in this process alone, thrown away: to learn what a step takes."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from upath import UPath

from omnimat.features.batch import Batch
from omnimat.stream.timing import StreamMeter
from omnimat.training.context import WorkerContext
from omnimat.training.engine import build_engine
from omnimat.training.loop import build_model
from omnimat.training.meter import Meter
from omnimat.training.settings import PretrainSettings
from omnimat.training.step import train_step
from omnimat.training.stopwatch import Stopwatch

NUM_WARM_UP_STEPS = 2


def step_seconds(
    settings: PretrainSettings, shares: Mapping[int, Sequence[Sequence[Batch]]]
) -> dict[int, float]:
    """Give the median time of a step at each global batch size.

    Args:
        settings: of the run; a model of its own is trained, from fresh weights.
        shares: batch size -> steps -> micro-batches; the first ``NUM_WARM_UP_STEPS`` of each size
            do not count.
    """
    training = settings.training
    device = torch.device("cuda" if training.on_gpu else "cpu")
    torch.set_num_threads(training.threads_per_worker)
    with _alone(device) as context:
        return {
            size: _median_step_s(settings, size, steps, context) for size, steps in shares.items()
        }


def num_gradient_bytes(settings: PretrainSettings) -> int:
    """Count what workers exchange of gradients in a step."""
    parameters = build_model(settings).parameters()
    return sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)


def _median_step_s(
    settings: PretrainSettings,
    batch_size: int,
    steps: Sequence[Sequence[Batch]],
    context: WorkerContext,
) -> float:
    training = settings.training.model_copy(update={"global_batch_size": batch_size})
    model = build_model(settings).to(context.device)
    engine = build_engine(model, training, context.device, context.world_size)
    meter = Meter(batch_size, Stopwatch(context.device), StreamMeter())
    seconds = []
    for share in steps:
        meter.stopwatch.read()
        train_step(engine, settings.objective, share, context, meter)
        seconds.append(sum(meter.stopwatch.read().values()))
    return statistics.median(seconds[NUM_WARM_UP_STEPS:])


@contextmanager
def _alone(device: torch.device) -> Iterator[WorkerContext]:
    """Make this process the only worker of a run that has no folder."""
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
    backend = "nccl" if device.type == "cuda" else "gloo"
    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=store, rank=0, world_size=1)
    try:
        yield WorkerContext(UPath("memory://rehearsal"), device)
    finally:
        dist.destroy_process_group()
