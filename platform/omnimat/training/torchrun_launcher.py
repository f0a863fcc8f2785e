"""Runs the training loop in processes of torchrun: no Ray, for machines that have none."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from upath import UPath

from omnimat.stream.prefetch import prefetched
from omnimat.stream.worker import in_process
from omnimat.training.context import WorkerContext
from omnimat.training.loop import train_worker
from omnimat.training.plan import RunPlan
from omnimat.training.result import finish
from omnimat.training.settings import TrainingSettings


def is_worker() -> bool:
    """Say whether this process is one that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def start_workers(training: TrainingSettings, arguments: Sequence[str]) -> None:
    """Become torchrun, on this machine alone, whose workers run ``omnimat`` with these arguments.

    For several machines call torchrun yourself on each, as its manual says.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={training.num_workers}"]
    command += [
        f"--max-restarts={training.max_failures}",
        "--module",
        "omnimat.cli",
        *arguments,
    ]
    os.environ.setdefault("OMP_NUM_THREADS", str(training.threads_per_worker))
    os.execv(sys.executable, command)


def train_process(plan: RunPlan, run: UPath) -> None:
    """Train as one worker to the end of the plan; rank 0 leaves export and ``result.json``."""
    start_s = time.perf_counter()
    run.mkdir(parents=True, exist_ok=True)
    device = _device(use_gpu=plan.settings.training.on_gpu)
    _meet_other_workers("nccl" if device.type == "cuda" else "gloo")
    try:
        context = WorkerContext(run, device)
        pipeline = prefetched(in_process, plan.settings.stream.prefetch_batches)
        train_worker(plan, context, pipeline)
        if context.rank == 0:
            finish(plan, run, time.perf_counter() - start_s)
    finally:
        dist.destroy_process_group()


def _meet_other_workers(backend: str) -> None:
    """Join the process group of this start.

    torchrun keeps one store through all restarts (torch 2.13): without a prefix of its own, a
    worker may find the address of one that was killed there, and wait for it without end.
    """
    store, rank, world_size = next(rendezvous("env://"))
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    own = PrefixStore(f"omnimat-attempt-{attempt}", store)
    dist.init_process_group(backend, store=own, rank=rank, world_size=world_size)


def _device(*, use_gpu: bool) -> torch.device:
    if not use_gpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device
