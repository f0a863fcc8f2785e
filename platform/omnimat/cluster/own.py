"""A Ray of one's own: a head on this machine that starts nothing but what one command needs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import node as ray_node
from ray._private.accelerators import get_accelerator_manager_for_resource
from ray._private.parameter import RayParams

# Its processes inherit these, unless the user has set them.
_ENVIRONMENT = {
    # They get their share of a busy machine; Ray's default of 15 would leave all of it to others.
    "RAY_worker_niceness": "0",
    # How long a process lies ready; by default 1 s.
    "RAY_idle_worker_killing_time_threshold_ms": "30000",
    # With Ray Train's patch, print would also log each line, and both end up in the same place.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
}


def start() -> None:
    """Start it, and connect to it."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with _lean_node():
        ray.init(address="local", include_dashboard=False, num_gpus=_num_usable_gpus())


def make_ready() -> None:
    """Begin to start a process for the next actor.

    Where none lies ready, Ray starts two processes for a task: one for it alone, since no actor
    gets a process that has run a task, and one that then lies ready.
    """
    ray.remote(num_cpus=0)(_nothing).remote()


def _nothing() -> None:
    pass


class _LeanNode(ray_node.Node):  # type: ignore[misc]
    """A head without the processes of a cluster that others look at, or that may grow.

    ``ray.init`` has no options for that (Ray 2.60). Each takes half a second of CPU, and it waits
    for the second.
    """

    def __init__(self, ray_params: RayParams, **told: Any) -> None:
        ray_params.no_monitor = True
        # By default all agents of a machine try to get the same port, the second one for 3.5 s,
        # and a head waits for its agent.
        ray_params.dashboard_agent_listen_port = 0
        super().__init__(ray_params, **told)

    def start_api_server(self, *, include_dashboard: bool, raise_on_failure: bool) -> None:
        """Start none: without a dashboard it would only count how Ray is used."""


@contextmanager
def _lean_node() -> Iterator[None]:
    usual = ray_node.Node
    ray_node.Node = _LeanNode
    try:
        yield
    finally:
        ray_node.Node = usual


def _num_usable_gpus() -> int | None:
    """Count the GPUs as 0 if none can be used, and leave it to Ray if all can.

    Ray counts GPUs that a torch built for the CPU cannot use. Where it sees none, torch, which
    takes more than a second to import, is not asked.
    """
    if get_accelerator_manager_for_resource("GPU").get_current_node_num_accelerators() == 0:
        return 0
    import torch

    return None if torch.cuda.is_available() else 0
