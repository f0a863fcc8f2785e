"""Runs a function in several real processes of a group and collects their results."""

from __future__ import annotations

import multiprocessing.forkserver
import os
import socket
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import start_processes

TIMEOUT = timedelta(seconds=120)
PRELOADED = "omnimat.testing.preloaded"


def run_workers(
    function: Callable[..., Any], world_size: int, *arguments: Any, device: str = "cpu"
) -> list[Any]:
    """Call ``function(*arguments)`` in every process of a group and return the results by rank.

    The function must be importable, and its result must consist of tensors and plain containers.
    Workers are forked from a server that has already imported what takes long.

    Args:
        function: what is called.
        world_size: number of processes; on ``cuda`` each has a GPU.
        arguments: what it is called with.
        device: ``cpu`` or ``cuda``, over which the workers talk to each other.
    """
    multiprocessing.forkserver.set_forkserver_preload([PRELOADED])
    with tempfile.TemporaryDirectory() as folder:
        start_processes(  # type: ignore[no-untyped-call]
            _worker,
            args=(world_size, _free_port(), Path(folder), function, arguments, device),
            nprocs=world_size,
            start_method="forkserver" if device == "cpu" else "spawn",
        )
        return [
            torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(world_size)
        ]


def _worker(
    rank: int,
    world_size: int,
    port: int,
    folder: Path,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    device: str,
) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "DS_ACCELERATOR": device,
    }
    torch.set_num_threads(1)
    if device == "cuda":
        torch.cuda.set_device(rank)
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        torch.save(function(*arguments), folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
