"""Running jobs: each handed to the room of its kind, and only where its output is missing."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import ray
from upath import UPath

from omnimat.evaluation.evaluate import evaluate
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.sweep import run_sweep
from omnimat.job.load import load_tree
from omnimat.job.preflight import check_fits
from omnimat.job.spec import (
    EvaluateJob,
    FinetuneJob,
    IngestJob,
    Job,
    PretrainJob,
    TokenizerJob,
    room_settings,
)
from omnimat.materials.errors import UserError
from omnimat.materials.settings import Settings
from omnimat.materials.workspace import RESULT, Workspace
from omnimat.shards.files import write_atomically
from omnimat.shards.manifest import MANIFEST_NAME
from omnimat.sources.ingest import IngestSettings, finished, ingest
from omnimat.stream.tokenizer import TokenizerFitSettings, fit_on_dataset
from omnimat.training.pretrain import make_plan, pretrain
from omnimat.training.settings import PretrainSettings

CLAIM = "job.json"


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
    if isinstance(job, IngestJob):
        settings = room_settings(job, IngestSettings)
        if finished(settings, job.name, workspace.dataset(job.name)) is None:
            settings.located()
    elif isinstance(job, PretrainJob) and (workspace.dataset(job.dataset) / MANIFEST_NAME).exists():
        make_plan(job.name, room_settings(job, PretrainSettings), workspace)


def run_one(job: Job) -> None:
    """Run a job unless it has finished before under the same settings."""
    workspace = Workspace.open(job.storage_path)
    if isinstance(job, IngestJob):
        ingest(room_settings(job, IngestSettings), job.name, workspace.dataset(job.name))
    elif isinstance(job, TokenizerJob):
        fit_on_dataset(room_settings(job, TokenizerFitSettings), job.name, workspace)
    elif isinstance(job, PretrainJob):
        pretrain_settings = room_settings(job, PretrainSettings).located(workspace)
        if not is_finished(job, pretrain_settings, workspace):
            plan = make_plan(job.name, pretrain_settings, workspace)
            _claim(workspace.run(job.name), pretrain_settings)
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
    run = workspace.run(job.name)
    if not (run / RESULT).exists():
        return False
    _check_settings(run / RESULT, settings)
    print(f"{job.name}: finished, nothing to do ({run})", flush=True)
    return True


def _claim(run: UPath, settings: Settings) -> None:
    """Let a run that was stopped go on, but never from a checkpoint of other settings."""
    if (run / CLAIM).exists():
        _check_settings(run / CLAIM, settings)
        return
    claim = {"config_hash": settings.fingerprint(), "settings": settings.model_dump(mode="json")}
    write_atomically(run / CLAIM, json.dumps(claim, indent=1).encode())


def _check_settings(record: UPath, settings: Settings) -> None:
    if json.loads(record.read_text())["config_hash"] != settings.fingerprint():
        run = record.parent
        raise UserError(
            f"name: run {run.name!r} was made under other settings; choose another name "
            f"or delete {run}"
        )


@contextmanager
def _ray() -> Iterator[None]:
    """Connect to the cluster of ``RAY_ADDRESS``, else start a Ray of our own and stop it after.

    Ray would attach to any cluster it finds on this machine; that is never what was meant.
    """
    # Ray Train's watchdog asks "the" cluster of this machine whether a run is alive, unless its
    # environment says which; told no by another, it would take the workers' resources away.
    address = os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address="auto", runtime_env={"env_vars": {"RAY_ADDRESS": address}})
    else:
        port = _free_port()
        os.environ["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{port}"
        ray.init(address="local", dashboard_port=port)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        yield
    finally:
        ray.shutdown()


def _exit_on_signal(number: int, _frame: FrameType | None) -> None:
    """Leave through the ``finally`` blocks, so that nothing stays behind on the cluster."""
    sys.exit(128 + number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
