"""The Ray cluster that a command works on: one that it is told of, or one of its own."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import ray
import torch

from omnimat.cluster.leftovers import remove_leftovers


@contextmanager
def session() -> Iterator[None]:
    """Connect to the cluster of ``RAY_ADDRESS``, or start a Ray of our own and stop it at the end.

    Left to itself, Ray would attach to any cluster that it finds on this machine.
    """
    # Ray Train's watchdog asks "the" cluster of this machine whether a run is alive, unless its
    # environment names one. Told no by another cluster, it would take the workers' resources away.
    if address := os.environ.get("RAY_ADDRESS"):
        ray.init(address="auto", runtime_env={"env_vars": {"RAY_ADDRESS": address}})
        if left := remove_leftovers():
            print(f"freed {len(left)} placement groups that ended jobs still held", flush=True)
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
