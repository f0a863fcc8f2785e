"""The way from the file of a pretrain job to its run without Ray, on processes of torchrun."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from omnimat.job.kinds.pretrain import PretrainJob
from omnimat.job.load import load_as
from omnimat.training.torchrun_launcher import (
    Opened,
    folder_of_driver,
    is_restarted,
    is_worker,
    start_workers,
    train_as_worker,
)


def train(path: Path, overrides: Sequence[str], *, fresh: bool) -> None:
    """Run a pretrain job on processes of torchrun, which this one starts unless it is one itself.

    The data set and the feature store that the job reads must be there already.

    Raises:
        UserError: the job cannot be run as it is written, or what it needs is not there.
        RunError: training failed for a known reason.
    """
    if is_worker():
        num_workers = f"training.num_workers={os.environ['WORLD_SIZE']}"
        train_as_worker(lambda: _opened(path, [*overrides, num_workers], fresh=fresh))
    elif opened := _opened(path, overrides, fresh=fresh):
        arguments = ["train", str(path), "--launcher=torchrun"]
        start_workers(*opened, [*arguments, *(f"--set={one}" for one in overrides)])


def _opened(path: Path, overrides: Sequence[str], *, fresh: bool) -> Opened | None:
    """Give the plan of the run and its folder, or None if it has finished."""
    job = load_as(PretrainJob, path, overrides)
    job = job.on_devices(gpus_of_all(job.settings.training.num_workers)).prepared()
    if job.plan.store is not None:
        job.plan.store.check_complete()
    if name := folder_of_driver():
        return job.plan, job.workspace.run(job.name).with_name(name)
    folder = job.attempt(fresh=fresh and not is_restarted())
    return None if folder is None else (job.plan, folder)


def gpus_of_all(num_workers: int) -> int:
    """Count the GPUs of all workers: one each if this machine has as many as workers, else none.

    Of several machines the first worker's is looked at; torchrun says how many workers it has.
    """
    num_here = int(os.environ["LOCAL_WORLD_SIZE"]) if is_worker() else num_workers
    return num_workers if torch.cuda.device_count() >= num_here else 0
