"""Runs the training loop in processes of torchrun: no Ray, for machines that have none.

The worker of rank 0 alone works out what is to be done, and tells the others: so all do the same,
and a mistake is reported once, since torchrun ends all workers as soon as one has failed. In which
folder they work was decided by the process that started torchrun, if that was ``start_workers``,
and else is decided by rank 0, too.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from upath import UPath

from omnimat.stream.prefetch import prefetched
from omnimat.stream.worker import in_process
from omnimat.training.context import WorkerContext
from omnimat.training.gather import agree
from omnimat.training.loop import train_worker
from omnimat.training.plan import RunPlan
from omnimat.training.result import finish

Opened = tuple[RunPlan, UPath]
"""What a run does and the folder in which it begins or goes on."""

_FOLDER = "OMNIMAT_TORCHRUN_FOLDER"
# What rank 0 tells the others before they can form a process group: by which backend they will, or
# that there is nothing to do.
_DECISION = "decision"
_FINISHED = "finished"


def is_worker() -> bool:
    """Say whether this process is one that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_restarted() -> bool:
    """Say whether this process takes the place of a worker that failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def folder_of_driver() -> str | None:
    """Name the run's folder, if the process that started torchrun has opened it."""
    return os.environ.get(_FOLDER) if is_worker() else None


def start_workers(plan: RunPlan, run: UPath, arguments: Sequence[str]) -> None:
    """Become torchrun, on this machine alone, whose workers train in the folder of the run.

    For several machines call torchrun yourself on each, as its manual says.

    Args:
        plan: what the run does.
        run: the run's folder.
        arguments: arguments of ``omnimat`` in each worker.
    """
    training = plan.settings.training
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={training.num_workers}"]
    command += [f"--max-restarts={training.max_failures}"]
    command += ["--module", "omnimat.cli", *arguments]
    os.environ.setdefault("OMP_NUM_THREADS", str(training.threads_per_worker))
    os.environ[_FOLDER] = run.name
    os.execv(sys.executable, command)


def train_as_worker(open_run: Callable[[], Opened | None]) -> None:
    """Train as one worker to the end of the plan; rank 0 leaves export and ``result.json``.

    Args:
        open_run: gives what to do, or None if the run has finished; only rank 0 calls it.
    """
    start_s = time.perf_counter()
    store, rank, world_size = _meeting_point()
    opened = open_run() if rank == 0 else None
    if rank == 0:
        store.set(_DECISION, _FINISHED if opened is None else _backend(opened[0]))
    decision = store.get(_DECISION).decode()
    if decision == _FINISHED:
        return
    device = _device(use_gpu=decision == "nccl")
    dist.init_process_group(decision, store=store, rank=rank, world_size=world_size)
    try:
        told = agree(opened)
        assert told is not None  # rank 0 would have said that the run has finished
        plan, run = told
        run.mkdir(parents=True, exist_ok=True)
        pipeline = prefetched(in_process, plan.settings.stream.prefetch_batches)
        train_worker(plan, WorkerContext(run, device), pipeline)
        if rank == 0:
            finish(plan, run, time.perf_counter() - start_s)
    finally:
        dist.destroy_process_group()


def _backend(plan: RunPlan) -> str:
    return "nccl" if plan.settings.training.on_gpu else "gloo"


def _meeting_point() -> tuple[Store, int, int]:
    """Give the store that all workers of this start share, this worker's rank and their number.

    torchrun keeps one store through all restarts (torch 2.13): without a prefix of its own, a
    worker may find the address of one that was killed there, and wait for it without end.
    """
    store, rank, world_size = next(rendezvous("env://"))
    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    return PrefixStore(f"omnimat-attempt-{attempt}", store), rank, world_size


def _device(*, use_gpu: bool) -> torch.device:
    if not use_gpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device
