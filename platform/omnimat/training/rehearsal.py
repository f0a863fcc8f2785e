"""A few training steps on this machine, whose results are thrown away, to time a step."""

from __future__ import annotations

import gc
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch._C._distributed_c10d import FileStore, HashStore, Store
from torch.multiprocessing.spawn import ProcessRaisedException
from upath import UPath

from omnimat.base.provenance import hardware
from omnimat.modalities.batch import Batch
from omnimat.nn.devices import on_gpu
from omnimat.stream.timing import StreamMeter
from omnimat.training.context import WorkerContext
from omnimat.training.engine import build_engine
from omnimat.training.feed import micro_batch
from omnimat.training.gather import make_batch_norm_global
from omnimat.training.loop import build_model
from omnimat.training.meter import Meter
from omnimat.training.settings import PretrainSettings, TrainingSettings
from omnimat.training.step import train_step
from omnimat.training.stopwatch import Stopwatch

NUM_WARM_UP_STEPS = 2


def step_seconds(
    settings: PretrainSettings, shares: Mapping[int, Sequence[Sequence[Batch]]]
) -> dict[int, float]:
    """Measure the median seconds of a step at each global batch size.

    Args:
        settings: settings of the run. A separate model is trained, from fresh weights.
        shares: maps each batch size to steps, each a list of micro-batches. The first
            ``NUM_WARM_UP_STEPS`` steps of each size do not count.
    """
    with _worker(settings, HashStore(), rank=0, world_size=1) as context:
        return {
            size: _median_step_s(settings, size, steps, context) for size, steps in shares.items()
        }


def two_workers_step_s(
    settings: PretrainSettings, share: int, steps: Sequence[Sequence[Batch]]
) -> float | None:
    """Measure the median seconds of a step of two workers on this machine.

    It includes the time that they wait for each other.

    Args:
        settings: settings of the run.
        share: number of materials of each worker in a step.
        steps: steps, each a list of micro-batches; the second worker takes them in reverse order.

    Returns:
        The seconds, or None where the machine lacks the GPUs, cores or memory for two workers.
    """
    if _num_places(settings.training) < 2:
        return None
    _free_memory()
    try:
        return _step_s_of_two(settings, share, steps)
    except ProcessRaisedException as error:
        # OutOfMemoryError says so, and so do CUDA and NCCL if they cannot even start.
        if "out of memory" not in str(error):
            raise
    print(
        "two workers do not fit into this machine's memory, so how long they wait for each other "
        "is not measured",
        file=sys.stderr,
    )
    return None


def num_gradient_bytes(settings: PretrainSettings) -> int:
    """Count the bytes of gradients that workers exchange in a step."""
    parameters = build_model(settings).parameters()
    return sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)


def _num_places(training: TrainingSettings) -> int:
    """Count the workers for which this machine has a GPU, or cores for all their threads."""
    if training.on_gpu:
        return torch.cuda.device_count()
    return int(hardware()["cores"]) // training.threads_per_worker


def _free_memory() -> None:
    """Free the memory that engines of this process left, so that others can use the same GPU."""
    gc.collect()
    torch.cuda.empty_cache()


def _step_s_of_two(
    settings: PretrainSettings, share: int, steps: Sequence[Sequence[Batch]]
) -> float:
    seconds = mp.get_context("spawn").SimpleQueue()
    with tempfile.NamedTemporaryFile() as meeting:
        arguments = (settings, share, steps, meeting.name, seconds)
        mp.spawn(_one_of_two, arguments, nprocs=2)  # type: ignore[attr-defined,no-untyped-call]
    median_s: float = seconds.get()
    return median_s


def _median_step_s(
    settings: PretrainSettings,
    batch_size: int,
    steps: Sequence[Sequence[Batch]],
    context: WorkerContext,
) -> float:
    training = settings.training.model_copy(update={"global_batch_size": batch_size})
    model = build_model(settings)
    make_batch_norm_global(model)
    model = model.to(context.device)
    engine = build_engine(model, training, context.device, context.world_size)
    meter = Meter(batch_size, Stopwatch(context.device), StreamMeter())
    seconds = []
    for share in steps:
        meter.stopwatch.read()
        num_rows = [sum(len(batch.material_ids) for batch in share)] * context.world_size
        inputs = [micro_batch(batch, context.device) for batch in share]
        train_step(engine, settings, inputs, num_rows, context, meter)
        seconds.append(sum(meter.stopwatch.read().values()))
    return statistics.median(seconds[NUM_WARM_UP_STEPS:])


def _one_of_two(
    rank: int,
    settings: PretrainSettings,
    share: int,
    steps: Sequence[Sequence[Batch]],
    meeting: str,
    seconds: mp.SimpleQueue[float],
) -> None:
    ordered = steps if rank == 0 else steps[::-1]
    with _worker(settings, FileStore(meeting, 2), rank=rank, world_size=2) as context:
        median_s = _median_step_s(settings, 2 * share, ordered, context)
    if rank == 0:
        seconds.put(median_s)
    os._exit(0)  # threads of native code may abort a process that ends in the usual way


@contextmanager
def _worker(
    settings: PretrainSettings, store: Store, *, rank: int, world_size: int
) -> Iterator[WorkerContext]:
    """Make this process a worker of a run that has no folder."""
    training = settings.training
    torch.set_num_threads(training.threads_per_worker)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    device = on_gpu(torch.device("cuda", rank)) if training.on_gpu else torch.device("cpu")
    if training.on_gpu:
        torch.cuda.set_device(device)
    else:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    backend = "nccl" if training.on_gpu else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
    try:
        yield WorkerContext(UPath("memory://rehearsal"), device)
    finally:
        dist.destroy_process_group()
