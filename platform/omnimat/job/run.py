"""Running jobs: each handed to the room of its kind, and only where its output is missing."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import ray
import torch

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.cluster.capacity import Cluster
from omnimat.cluster.leftovers import remove_leftovers
from omnimat.evaluation.evaluate import evaluate
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.sweep import run_sweep
from omnimat.job.attempt import open_run
from omnimat.job.devices import on_devices
from omnimat.job.load import load_tree
from omnimat.job.plan import expectation
from omnimat.job.preflight import check_fits, placement
from omnimat.job.spec import (
    EvaluateJob,
    FeaturizeJob,
    FinetuneJob,
    IngestJob,
    Job,
    PretrainJob,
    RunJob,
    TokenizerJob,
    room_settings,
)
from omnimat.shards.manifest import MANIFEST_NAME
from omnimat.sources.ingest import finished, ingest
from omnimat.sources.settings import IngestSettings
from omnimat.stream.featurize import write_store
from omnimat.stream.location import StoreLocation
from omnimat.stream.tokenizer import TokenizerFitSettings, fit_on_dataset
from omnimat.training.plan import make_plan
from omnimat.training.pretrain import pretrain
from omnimat.training.settings import PretrainSettings


def run(path: Path, overrides: Sequence[str] = (), *, fresh: bool = False) -> None:
    """Run a job file, and first what it needs.

    Args:
        path: of the job file.
        overrides: ``key.key=value``.
        fresh: begin the named job's run anew, beside what is there; never those it needs.

    Raises:
        UserError: if a job cannot be run as it is written.
        RunError: if one fails for a known reason.
    """
    jobs = [loaded.job for loaded in load_tree(path, overrides)]
    if fresh and not isinstance(jobs[-1], RunJob):
        raise UserError(
            f"--fresh: {path} is of kind {jobs[-1].kind}, which makes no run; give the file of one"
        )
    for job in jobs:
        check_static(job)
    with _ray():
        num_gpus = Cluster.now().amount("GPU", {})
        jobs = [on_devices(job, num_gpus) for job in jobs]
        for job in jobs:
            check_fits(job)
        for job in jobs[:-1]:
            run_one(job)
        run_one(jobs[-1], is_asked_for=True, fresh=fresh)


def check_static(job: Job) -> None:
    """Find what is wrong with a job from the files alone, as far as its data is there yet."""
    workspace = Workspace.open(job.storage_path, job.leaderboard_url)
    if isinstance(job, IngestJob):
        settings = room_settings(job, IngestSettings)
        if finished(settings, job.name, workspace.dataset(job.name)) is None:
            settings.located()
    elif isinstance(job, PretrainJob) and (workspace.dataset(job.dataset) / MANIFEST_NAME).exists():
        make_plan(job.name, room_settings(job, PretrainSettings), workspace)
    elif isinstance(job, FinetuneJob | EvaluateJob):
        _ = workspace.leaderboard_url


def run_one(job: Job, *, is_asked_for: bool = False, fresh: bool = False) -> None:
    """Run a job unless it has finished before under the same settings.

    Args:
        job: to run.
        is_asked_for: by name, and not because another needs it: its failures are tried again.
        fresh: begin anew.
    """
    workspace = Workspace.open(job.storage_path, job.leaderboard_url)
    if isinstance(job, IngestJob):
        ingest(
            room_settings(job, IngestSettings),
            job.name,
            workspace.dataset(job.name),
            retry_failures=is_asked_for,
        )
    elif isinstance(job, TokenizerJob):
        fit_on_dataset(room_settings(job, TokenizerFitSettings), job.name, workspace)
    elif isinstance(job, FeaturizeJob):
        _featurize(job, workspace)
    elif isinstance(job, RunJob):
        _go_on(job, workspace, fresh=fresh)


def _featurize(job: FeaturizeJob, workspace: Workspace) -> None:
    featurizers = job.located(workspace).modalities.featurizers()
    store = StoreLocation.of(workspace, job.dataset, featurizers)
    if store.is_complete:
        print(f"{job.name}: finished, nothing to do ({store.folder})", flush=True)
        return
    write_store(store, num_featurizers=job.num_featurizers, num_cpus=job.featurizer_num_cpus)


def _go_on(job: RunJob, workspace: Workspace, *, fresh: bool) -> None:
    """Begin a run, or go on with it; nothing where it has finished."""
    if isinstance(job, PretrainJob):
        pretrain_settings = room_settings(job, PretrainSettings).located(workspace)
        plan = make_plan(job.name, pretrain_settings, workspace)
        run = open_run(job.name, pretrain_settings, workspace, fresh=fresh)
        if run is not None:
            lines = [*placement(job), expectation(plan, workspace)]
            print("\n".join(lines), flush=True)
            pretrain(plan, run)
    elif isinstance(job, FinetuneJob):
        finetune_settings = room_settings(job, FinetuneSettings)
        if open_run(job.name, finetune_settings, workspace, fresh=fresh) is not None:
            print("\n".join(placement(job)), flush=True)
            run_sweep(job.name, finetune_settings, workspace)
    else:
        evaluate_settings = room_settings(job, EvaluateSettings)
        if open_run(job.name, evaluate_settings, workspace, fresh=fresh) is not None:
            evaluate(job.name, evaluate_settings, workspace)


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
        if left := remove_leftovers():
            print(f"freed what {len(left)} placement groups of ended jobs still held", flush=True)
    else:
        port = _free_port()
        os.environ["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{port}"
        # Ray counts GPUs that a torch built for the CPU cannot use.
        num_gpus = None if torch.cuda.is_available() else 0
        ray.init(address="local", dashboard_port=port, num_gpus=num_gpus)
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
