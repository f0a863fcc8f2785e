"""Runs the training loop on Ray Train workers."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from upath import UPath

from omnimat.materials.workspace import METRICS
from omnimat.stream.pipeline import RayPipeline
from omnimat.training.context import Metrics
from omnimat.training.loop import train_worker
from omnimat.training.plan import RunPlan

# A worker group that cannot start is retried without end by default; pre-flight has checked that
# it fits, so a few failures mean a cluster that shrank.
CONTROLLER_FAILURE_LIMIT = 5
# Ray Train takes these from the driver's environment to its controller and workers.
_RAY_TRAIN_ENVIRONMENT = {
    # A worker that reports waits until the controller has polled the report before: every 2 s.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # Print sends each line to a logger too, and both end in the same place.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
}


class RayContext:
    """Inside a Ray Train worker."""

    @property
    def rank(self) -> int:
        """Of this worker, from 0."""
        return int(ray.train.get_context().get_world_rank())

    @property
    def world_size(self) -> int:
        """Number of workers."""
        return int(ray.train.get_context().get_world_size())

    @property
    def device(self) -> torch.device:
        """Where this worker computes."""
        return ray.train.torch.get_device()  # type: ignore[no-any-return]

    def report(self, metrics: Metrics, checkpoint: Path | None = None) -> None:
        """Report to the controller; parts of a checkpoint merge into one folder."""
        if checkpoint is None:
            ray.train.report(dict(metrics))
            return
        ray.train.report(
            dict(metrics), checkpoint=ray.train.Checkpoint.from_directory(str(checkpoint))
        )
        shutil.rmtree(checkpoint)

    @contextmanager
    def latest_checkpoint(self) -> Iterator[Path | None]:
        """Open the newest complete checkpoint."""
        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            yield None
            return
        with checkpoint.as_directory() as folder:
            yield Path(folder)
            dist.barrier()  # no worker may delete the local copy while another still reads


class _History(ray.train.UserCallback):  # type: ignore[misc]
    """Keeps every report: Ray drops those that carry no checkpoint."""

    def __init__(self, path: UPath) -> None:
        self._path = path

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any
    ) -> None:
        """Append rank 0's metrics."""
        with self._path.open("a") as sink:
            sink.write(json.dumps(metrics[0]) + "\n")


def fit(plan: RunPlan, run: UPath) -> UPath:
    """Train to the end of the plan; called again under the same folder, it goes on.

    Args:
        plan: of the run.
        run: the run's folder, reachable from every node.

    Returns:
        The folder of the last checkpoint.
    """
    training = plan.settings.training
    resources = {"CPU": training.cpus_per_worker}
    for variable, value in _RAY_TRAIN_ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    trainer = ray.train.torch.TorchTrainer(
        _train_loop,
        train_loop_config={"plan": plan},
        scaling_config=ray.train.ScalingConfig(
            num_workers=training.num_workers,
            use_gpu=training.use_gpu,
            resources_per_worker=resources | ({"GPU": 1} if training.use_gpu else {}),
        ),
        run_config=ray.train.RunConfig(
            name="train",
            storage_path=str(run),
            failure_config=ray.train.FailureConfig(
                max_failures=training.max_failures,
                controller_failure_limit=CONTROLLER_FAILURE_LIMIT,
            ),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=training.num_checkpoints_kept),
            callbacks=[_History(run / METRICS)],
            worker_runtime_env=_worker_environment(use_gpu=training.use_gpu),
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),
        ),
    )
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        result = trainer.fit()
    finally:  # Ray Train's own handler stays behind and would later exit with code 0
        signal.signal(signal.SIGINT, on_interrupt)
    return UPath(result.checkpoint.path)


def _train_loop(config: dict[str, Any]) -> None:
    plan: RunPlan = config["plan"]
    logging.getLogger().setLevel(logging.WARNING)  # Ray Train's INFO repeats every report in full
    context = RayContext()
    train_worker(plan, context, RayPipeline(plan.settings.stream, context.world_size))


def _worker_environment(*, use_gpu: bool) -> dict[str, Any]:
    return {} if use_gpu else {"env_vars": {"DS_ACCELERATOR": "cpu"}}
