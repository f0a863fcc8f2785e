"""Ray Train on a Ray of one's own, where no process needs an environment of its own.

Ray Train hands its variables from process to process as runtime environments. For each of these Ray
starts Python twice and leaves the processes that lie ready unused: half a second for the
controller, for the workers and for their featurizers, one after the other. On a Ray of one's own
all processes inherit the driver's environment anyway.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ray.train.v2._internal.execution.callback import WorkerCallback
from ray.train.v2._internal.execution.controller.controller import TrainController
from ray.train.v2._internal.execution.worker_group.worker_group import WorkerGroup

from omnimat.cluster.own import make_ready


class _OwnWorkerGroup(WorkerGroup):  # type: ignore[misc]
    @staticmethod
    def _get_worker_runtime_env(custom_runtime_env: dict[str, Any]) -> dict[str, Any]:
        """Add no variables to those that the run itself asks for."""
        return custom_runtime_env


class OwnController(TrainController):  # type: ignore[misc]
    """A controller that is told its variables by argument."""

    worker_group_cls = _OwnWorkerGroup

    def __init__(self, variables: Mapping[str, str], **settings: Any) -> None:
        os.environ.update(variables)
        super().__init__(**settings)


class ReadyFeaturizer(WorkerCallback):  # type: ignore[misc]
    """Has a process for the first featurizer start while the worker imports torch."""

    def after_init_train_context(self) -> None:
        """Called on the worker before it does anything else."""
        make_ready()
