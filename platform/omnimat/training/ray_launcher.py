"""Runs the training loop on Ray Train workers."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray.train
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
    get_or_create_autoscaling_coordinator,
)
from ray.data._internal.execution.node_trackers import get_or_create_actor_location_tracker
from ray.data._internal.stats import get_or_create_stats_actor
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.constants import get_env_vars_to_propagate
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from omnimat.base.errors import RunError, UserError
from omnimat.base.lease import Fence
from omnimat.base.scratch import temporary_folder
from omnimat.cluster.metrics import RayMetrics
from omnimat.cluster.placement import on_labelled
from omnimat.cluster.session import is_own
from omnimat.training.listening import PATIENCE
from omnimat.training.own_ray import OwnController, ReadyFeaturizer
from omnimat.training.plan import RunPlan
from omnimat.training.ray_process_group import OneAddressConfig
from omnimat.training.settings import TrainingSettings

# Ray Train passes these from the driver's environment to its controller and workers.
_RAY_TRAIN_ENVIRONMENT = {
    # With the patch, print would also log each line, and both end up in the same place.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    # That workers have ended or failed is noticed so many seconds later at most; by default 2.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    # Nor does it say that its own controller waits.
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
}
# How long the starts of a worker group may fail, summed over the whole life of a run: without a
# spare node, replacing a lost one takes minutes or even a day. (An elastic run that lacks room for
# its fewest workers does not fail under Ray 2.60; it waits.)
STARTS_FAIL_FOR_S = 24 * 3600
START_TIMEOUT_S = 300
# Ray Train notices late that a node is lost, so an elastic run first asks for as many workers as
# before. Only after this time does it count again how many there is room for.
ELASTIC_START_TIMEOUT_S = 45


def fit(plan: RunPlan, fence: Fence) -> None:
    """Train to the end of the plan; called again with the same folder, it resumes.

    Ray Train starts the workers and restarts them after a failure. It gets a new temporary folder
    each time and no checkpoints: the run keeps those itself, and Ray would resume by name.

    Args:
        plan: plan of the run.
        fence: the run's folder, reachable from every node, and its lease.

    Raises:
        RunError: another process has taken the run over, a worker failed for a known reason more
            often than ``max_failures``, or there was no room for the workers.
        UserError: a worker could not do what the settings ask for.
    """
    timeout_s = _start_timeout_s(plan.settings.training)
    timeout = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(timeout_s)}
    if is_own():  # one machine, which nobody drains
        timeout["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"
    on_interrupt = signal.getsignal(signal.SIGINT)
    with (
        _unless_set(_RAY_TRAIN_ENVIRONMENT | timeout),
        temporary_folder("ray-train") as folder,
    ):
        try:
            _trainer(plan, fence, str(folder)).fit()
        except ray.train.TrainingFailedError as error:
            raise known_reason(error) or error from None
        finally:  # Ray Train leaves its own handler behind, which would later exit with code 0
            signal.signal(signal.SIGINT, on_interrupt)


def _start_helpers() -> None:
    """Begin to start the actors of Ray Train and Ray Data that these would wait for one by one.

    They belong to the cluster and have no environment of their own, so that they get processes
    that a new Ray starts anyway.
    """
    get_or_create_autoscaling_coordinator()
    get_or_create_stats_actor()
    get_or_create_actor_location_tracker()


@contextmanager
def _unless_set(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables inside the context, except those that the user has set."""
    added = variables.keys() - os.environ.keys()
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


class LeanTrainer(DataParallelTrainer):  # type: ignore[misc]
    """A trainer without the helpers of Ray Train that this run has no use for.

    Each is a process that takes two seconds of CPU to start. The data sets of the run are none of
    Ray Train's, and on a Ray of our own nobody else waits for the places of a run that has died.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        unused: tuple[type, ...] = (DatasetsCallback,)
        if is_own():
            unused += (PlacementGroupCleanerCallback,)
            callbacks.append(ReadyFeaturizer())
        return [one for one in callbacks if not isinstance(one, unused)]

    def _initialize_and_run_controller(self, **settings: Any) -> ray.train.Result:
        if not is_own():
            _start_helpers()
            return super()._initialize_and_run_controller(**settings)
        controller = ray.remote(num_cpus=0)(OwnController).remote(
            get_env_vars_to_propagate(), **settings
        )
        _start_helpers()
        self._register_sigint_handler(controller)
        ray.get(controller.run.remote())
        return ray.get(controller.get_result.remote())


def _trainer(plan: RunPlan, fence: Fence, folder: str) -> LeanTrainer:
    training = plan.settings.training
    return LeanTrainer(
        _train_loop,
        train_loop_config={"plan": plan, "fence": fence},
        backend_config=OneAddressConfig(timeout_s=int(PATIENCE.total_seconds())),
        scaling_config=ray.train.ScalingConfig(
            num_workers=_num_workers(training),
            use_gpu=training.on_gpu,
            resources_per_worker=training.worker_resources,
            label_selector=on_labelled(training.worker_labels) or None,
            elastic_resize_monitor_interval_s=training.resize_interval_s,
        ),
        run_config=ray.train.RunConfig(
            name=plan.name,
            storage_path=folder,
            failure_config=ray.train.FailureConfig(
                max_failures=training.max_failures,
                controller_failure_limit=STARTS_FAIL_FOR_S // _start_timeout_s(training),
            ),
            worker_runtime_env=_worker_environment(use_gpu=training.on_gpu),
            logging_config=ray.train.LoggingConfig(log_level="WARNING"),
        ),
    )


def _num_workers(training: TrainingSettings) -> int | tuple[int, int]:
    """Return the number of workers, or the range from which Ray Train may choose."""
    smallest, largest = training.world_sizes[0], training.world_sizes[-1]
    return (smallest, largest) if training.is_elastic else largest


def _start_timeout_s(training: TrainingSettings) -> int:
    return ELASTIC_START_TIMEOUT_S if training.is_elastic else START_TIMEOUT_S


def known_reason(error: ray.train.TrainingFailedError) -> RunError | UserError | None:
    """Return an error that tells the user why training failed, or None if the reason is unknown.

    Known reasons are an error with one sentence that a worker raised, and workers that could not be
    started.
    """
    if isinstance(error, ray.train.ControllerError):
        return RunError(
            f"Ray Train gave up ({error.controller_failure}); run the job again to continue from "
            "the last checkpoint"
        )
    failures = getattr(error, "worker_failures", {}).values()
    reasons = [getattr(failure, "_base_exc", failure) for failure in failures]
    return next((reason for reason in reasons if isinstance(reason, RunError | UserError)), None)


def _train_loop(config: dict[str, Any]) -> None:
    """Train as one worker. Torch is imported here, so that the driver does not wait for it."""
    from ray.train.torch import get_device

    from omnimat.stream.pipeline import RayPipeline
    from omnimat.training.context import WorkerContext
    from omnimat.training.loop import train_worker

    plan: RunPlan = config["plan"]
    logging.getLogger().setLevel(logging.WARNING)  # Ray Train's INFO repeats every report in full
    fence: Fence = config["fence"]
    with RayMetrics(fence.folder.name) as metrics:
        device = get_device()
        context = WorkerContext(fence.folder, device, (metrics,), fence.check)
        try:
            train_worker(plan, context, RayPipeline(plan.settings.stream, context.world_size))
        except (RunError, UserError):
            # Ray Train would print a traceback of what the driver is going to say in a sentence.
            logging.getLogger("ray.train").setLevel(logging.CRITICAL)
            raise


def _worker_environment(*, use_gpu: bool) -> dict[str, Any]:
    if not use_gpu:
        return {}
    from omnimat.nn.devices import gpu_variables

    return {"env_vars": gpu_variables()}
