"""Runs the training loop on Ray Train workers."""

from __future__ import annotations

import json
from typing import Any

import ray.train
import ray.train.torch
from upath import UPath

from omnimat.training.context import RayContext
from omnimat.training.loop import train_worker
from omnimat.training.plan import RunPlan

METRICS = "metrics.jsonl"
# A worker group that cannot start is retried without end by default; pre-flight has checked that
# it fits, so a few failures mean a cluster that shrank.
CONTROLLER_FAILURE_LIMIT = 5


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
        ),
    )
    result = trainer.fit()
    return UPath(result.checkpoint.path)


def _train_loop(config: dict[str, Any]) -> None:
    train_worker(config["plan"], RayContext())


def _worker_environment(*, use_gpu: bool) -> dict[str, Any]:
    return {} if use_gpu else {"env_vars": {"DS_ACCELERATOR": "cpu"}}
