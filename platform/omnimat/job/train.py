"""A pretrain job by itself, without Ray: what it needs must be there already."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.job.attempt import open_run
from omnimat.job.devices import on_devices
from omnimat.job.load import load
from omnimat.job.spec import PretrainJob, room_settings
from omnimat.training.plan import make_plan
from omnimat.training.settings import PretrainSettings
from omnimat.training.torchrun_launcher import is_worker, start_workers, train_process


def train(path: Path, overrides: Sequence[str], *, fresh: bool) -> None:
    """Run a pretrain job on processes of torchrun, which this one starts unless it is one.

    Raises:
        UserError: if the job cannot be run as it is written, or what it needs is not there.
    """
    if is_worker():  # as many as torchrun started
        overrides = [*overrides, f"training.num_workers={os.environ['WORLD_SIZE']}"]
    job = load(path, overrides).job
    if not isinstance(job, PretrainJob):
        raise UserError(f"{path}: kind {job.kind} is not trained; give a job of kind pretrain")
    job = on_devices(job, gpus_of_all(job.training.num_workers))
    workspace = Workspace.open(job.storage_path)
    settings = room_settings(job, PretrainSettings).located(workspace)
    plan = make_plan(job.name, settings, workspace)
    if plan.store is not None:
        plan.store.check_complete()
    if is_worker():
        train_process(plan, workspace.run(job.name))
    elif open_run(job.name, settings, workspace, fresh=fresh) is not None:
        arguments = ["train", str(path), "--launcher=torchrun"]
        start_workers(settings.training, [*arguments, *(f"--set={one}" for one in overrides)])


def gpus_of_all(num_workers: int) -> int:
    """Count the GPUs of all workers: one each where this machine has as many as workers, else none.

    On several machines each looks at its own; torchrun says how many workers that has.
    """
    num_here = int(os.environ["LOCAL_WORLD_SIZE"]) if is_worker() else num_workers
    return num_workers if torch.cuda.device_count() >= num_here else 0
