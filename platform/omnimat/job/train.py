"""The way from the file of a pretrain job to its run without Ray, on processes of torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from omnimat.base.lease import Fence
from omnimat.job.kinds.pretrain import PretrainJob
from omnimat.job.load import load_as
from omnimat.training.torchrun_launcher import (
    Driver,
    Opened,
    end_with_agent,
    is_restarted,
    is_worker,
    start_workers,
    train_as_worker,
)


def train(path: Path, overrides: Sequence[str], *, fresh: bool) -> None:
    """Run a pretrain job on processes of torchrun, which this one starts unless it is one itself.

    The data set and the feature store that the job reads must be there already.

    Raises:
        UserError: the job cannot be run as it is written, what it needs is not there, or another
            process works on the run.
        RunError: training failed for a known reason.
    """
    if is_worker():
        end_with_agent()
        train_as_worker(lambda: _opened_by_worker(path, overrides, fresh=fresh))
        return
    with _opened(_job(path, overrides), fresh=fresh) as opened:
        if opened is not None:
            start_workers(*opened, ["train", str(path), "--launcher=torchrun"], overrides)


def _job(path: Path, overrides: Sequence[str]) -> PretrainJob:
    """Read the job and find out whether it can be run as it is."""
    job = load_as(PretrainJob, path, overrides)
    job = job.on_devices(gpus_of_all(job.settings.training.num_workers)).prepared()
    if job.plan.store is not None:
        job.plan.store.check_complete()
        job.plan.check_store()
    return job


@contextmanager
def _opened(job: PretrainJob, *, fresh: bool) -> Iterator[Opened | None]:
    """Hold the run; give its plan and its folder, or None if it has finished."""
    lease = job.attempt(fresh=fresh)
    if lease is None:
        yield None
        return
    with lease:
        yield job.plan, lease.fence


@contextmanager
def _opened_by_worker(
    path: Path, overrides: Sequence[str], *, fresh: bool
) -> Iterator[Opened | None]:
    """Give what the driver has opened, or hold the run if torchrun was started by hand."""
    driver = Driver.of_this_worker()
    told = overrides if driver is None else driver.overrides
    job = _job(path, [*told, f"training.num_workers={os.environ['WORLD_SIZE']}"])
    if driver is not None:
        folder = job.workspace.run(job.name).with_name(driver.folder)
        yield job.plan, Fence(folder, driver.generation, driver.token)
        return
    with _opened(job, fresh=fresh and not is_restarted()) as opened:
        yield opened


def gpus_of_all(num_workers: int) -> int:
    """Count the GPUs of all workers: one each if this machine has as many as workers, else none.

    Of several machines the first worker's is looked at; torchrun says how many workers it has.
    """
    num_here = int(os.environ["LOCAL_WORLD_SIZE"]) if is_worker() else num_workers
    return num_workers if torch.cuda.device_count() >= num_here else 0
