"""Running jobs: each handed to the room of its kind, and only where its output is missing."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import ray

from omnimat.evaluation.evaluate import evaluate
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.sweep import run_sweep
from omnimat.job.load import load_tree
from omnimat.job.preflight import check_fits
from omnimat.job.spec import EvaluateJob, FinetuneJob, IngestJob, Job, PretrainJob, room_settings
from omnimat.materials.errors import UserError
from omnimat.materials.settings import Settings
from omnimat.materials.workspace import Workspace
from omnimat.sources.ingest import IngestSettings, ingest
from omnimat.training.pretrain import RESULT, make_plan, pretrain
from omnimat.training.settings import PretrainSettings


def run(path: Path, overrides: Sequence[str] = ()) -> None:
    """Run a job file, and first what it needs.

    Raises:
        UserError: if a job cannot be run as it is written.
    """
    jobs = [loaded.job for loaded in load_tree(path, overrides)]
    for job in jobs:
        check_static(job)
    with _ray():
        for job in jobs:
            check_fits(job)
        for job in jobs:
            run_one(job)


def check_static(job: Job) -> None:
    """Find what is wrong with a job from the files alone, as far as its data is there yet."""
    workspace = Workspace.open(job.storage_path)
    if isinstance(job, PretrainJob) and (workspace.dataset(job.dataset) / "manifest.json").exists():
        make_plan(job.name, room_settings(job, PretrainSettings), workspace)


def run_one(job: Job) -> None:
    """Run a job unless it has finished before under the same settings."""
    workspace = Workspace.open(job.storage_path)
    if isinstance(job, IngestJob):
        ingest(room_settings(job, IngestSettings), job.name, workspace.dataset(job.name))
    elif isinstance(job, PretrainJob):
        pretrain_settings = room_settings(job, PretrainSettings)
        if not is_finished(job, pretrain_settings, workspace):
            plan = make_plan(job.name, pretrain_settings, workspace)
            pretrain(plan, workspace.run(job.name))
    elif isinstance(job, FinetuneJob):
        finetune_settings = room_settings(job, FinetuneSettings)
        if not is_finished(job, finetune_settings, workspace):
            run_sweep(job.name, finetune_settings, workspace)
    elif isinstance(job, EvaluateJob):
        evaluate_settings = room_settings(job, EvaluateSettings)
        if not is_finished(job, evaluate_settings, workspace):
            evaluate(job.name, evaluate_settings, workspace)


def is_finished(job: Job, settings: Settings, workspace: Workspace) -> bool:
    """Say whether this very job is done.

    Raises:
        UserError: if another job of the same name is.
    """
    result = workspace.run(job.name) / RESULT
    if not result.exists():
        return False
    if json.loads(result.read_text())["config_hash"] != settings.fingerprint():
        raise UserError(
            f"name: run {job.name!r} finished under other settings; choose another name "
            f"or delete {workspace.run(job.name)}"
        )
    print(f"{job.name}: finished, nothing to do ({workspace.run(job.name)})", flush=True)
    return True


@contextmanager
def _ray() -> Iterator[None]:
    """Connect to the cluster of ``RAY_ADDRESS``, else start a Ray of our own and stop it after.

    Ray would attach to any cluster it finds on this machine; that is never what was meant.
    """
    ray.init(address="auto" if os.environ.get("RAY_ADDRESS") else "local")
    signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        yield
    finally:
        ray.shutdown()


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    """Leave through the ``finally`` blocks, so that nothing stays behind on the cluster."""
    sys.exit(128 + number)
