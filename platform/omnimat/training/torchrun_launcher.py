"""Runs the training loop in processes of torchrun: no Ray, for machines that have none.

The worker of rank 0 alone works out what is to be done, and tells the others: so all do the same,
and a mistake is reported once, since torchrun ends all workers as soon as one has failed. In which
folder they work, and under which lease, was decided by ``start_workers`` if that started them, and
else is decided by rank 0, too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple, Self

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.elastic.multiprocessing import (
    DefaultLogsSpecs,
    ProcessFailure,
    SignalException,
)
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.distributed.rendezvous import rendezvous

from omnimat.base.errors import RunError
from omnimat.base.lease import Fence
from omnimat.base.process import end_with_parent
from omnimat.base.scratch import temporary_folder
from omnimat.nn.devices import on_gpu
from omnimat.stream.prefetch import prefetched
from omnimat.stream.worker import in_process
from omnimat.training.context import WorkerContext
from omnimat.training.gather import agree
from omnimat.training.listening import PATIENCE
from omnimat.training.loop import train_worker
from omnimat.training.plan import RunPlan
from omnimat.training.rendezvous import BACKEND, LOOPBACK, LOOPBACK_INTERFACE
from omnimat.training.result import finish

Opened = tuple[RunPlan, Fence]
"""What a run does, and the folder in which it begins or goes on, which is leased."""

_DRIVER = "OMNIMAT_TORCHRUN_DRIVER"
# What rank 0 tells the others before they can form a process group: by which backend they will, or
# that there is nothing to do.
_DECISION = "decision"
_FINISHED = "finished"


class Driver(NamedTuple):
    """What ``start_workers`` tells its workers.

    It goes through the environment, which other users cannot read, unlike the command line.

    Attributes:
        pid: process id of the driver, which is the agent of torchrun.
        folder: name of the run's folder.
        generation: number of the lease of the folder.
        token: text that no other lease has.
        overrides: ``key.key=value`` for the job file.
    """

    pid: int
    folder: str
    generation: int
    token: str
    overrides: list[str]

    @classmethod
    def of_this_worker(cls) -> Self | None:
        """Return what this worker was told, or None if it was not started by ``start_workers``."""
        told = os.environ.get(_DRIVER) if is_worker() else None
        return None if told is None else cls(*json.loads(told))


def is_worker() -> bool:
    """Say whether this process is one that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_restarted() -> bool:
    """Say whether this process takes the place of a worker that failed."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"


def end_with_agent() -> None:
    """Have this worker killed as soon as its agent has ended, however that came about."""
    driver = Driver.of_this_worker()
    end_with_parent(os.getppid() if driver is None else driver.pid)


def start_workers(
    plan: RunPlan, fence: Fence, arguments: Sequence[str], overrides: Sequence[str]
) -> None:
    """Be torchrun, on this machine alone, until its workers have trained to the end.

    For several machines call torchrun yourself on each, as its manual says.

    Args:
        plan: what the run does.
        fence: the run's folder and its lease, which this process keeps.
        arguments: arguments of ``omnimat`` in each worker.
        overrides: ``key.key=value`` for the job file, which may hold passwords.

    Raises:
        RunError: a worker failed more often than ``max_failures``, or another process has taken
            the run over.
    """
    training = plan.settings.training
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=training.num_workers,
        run_id=fence.folder.name,
        rdzv_backend=BACKEND,
        rdzv_configs={"check_held": fence.check},
        max_restarts=training.max_failures,
        local_addr=LOOPBACK,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),  # else it leaves a folder behind
    )
    told = (fence.folder.name, fence.generation, fence.token)
    driver = Driver(os.getpid(), *told, list(overrides))
    with (
        temporary_folder("torchrun") as folder,
        _environment_of_workers(driver, folder, training.threads_per_worker),
    ):
        try:
            elastic_launch(config, sys.executable)("-u", "-m", "omnimat.cli", *arguments)
        except ChildFailedError as error:
            raise RunError(_reason(error.get_first_failure())) from None
        except SignalException as error:
            sys.exit(128 + error.sigval)


@contextmanager
def _environment_of_workers(driver: Driver, folder: Path, num_threads: int) -> Iterator[None]:
    """Set what workers inherit, which torchrun lets through, until they have ended."""
    before = dict(os.environ)
    os.environ |= {_DRIVER: json.dumps(driver), "TMPDIR": str(folder)}
    for library in ("GLOO", "NCCL"):
        os.environ.setdefault(f"{library}_SOCKET_IFNAME", LOOPBACK_INTERFACE)
    os.environ.setdefault("OMP_NUM_THREADS", str(num_threads))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def _reason(failed: tuple[int, ProcessFailure]) -> str:
    rank, failure = failed
    how = f"exit code {failure.exitcode}" if failure.exitcode > 0 else failure.signal_name()
    return (
        f"worker {rank} ended with {how}; what it said is above, and if you run the job again, it "
        "goes on from the last checkpoint"
    )


def train_as_worker(opening: Callable[[], AbstractContextManager[Opened | None]]) -> None:
    """Train as one worker to the end of the plan; rank 0 leaves export and ``result.json``.

    Args:
        opening: gives what to do, or None if the run has finished; only rank 0 calls it.
    """
    start_s = time.perf_counter()
    store, rank, world_size = _meeting_point()
    store.set_timeout(PATIENCE)
    leading = opening() if rank == 0 else nullcontext()
    with leading as opened:
        if rank == 0:
            store.set(_DECISION, _FINISHED if opened is None else _backend(opened[0]))
        decision = store.get(_DECISION).decode()
        if decision == _FINISHED:
            return
        device = _device(use_gpu=decision == "nccl")
        dist.init_process_group(
            decision, store=store, rank=rank, world_size=world_size, timeout=PATIENCE
        )
        try:
            told = agree(opened)
            assert told is not None  # rank 0 would have said that the run has finished
            _train(*told, device, start_s)
        finally:
            dist.destroy_process_group()


def _train(plan: RunPlan, fence: Fence, device: torch.device, start_s: float) -> None:
    context = WorkerContext(fence.folder, device, check_held=fence.check)
    pipeline = prefetched(in_process, plan.settings.stream.prefetch_batches)
    train_worker(plan, context, pipeline)
    if context.rank == 0:
        finish(plan, fence, time.perf_counter() - start_s)


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
    device = on_gpu(torch.device("cuda", int(os.environ["LOCAL_RANK"])))
    torch.cuda.set_device(device)
    return device
