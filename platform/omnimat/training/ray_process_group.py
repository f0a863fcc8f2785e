"""The process group of Ray Train's workers, whose store listens on their cluster's address alone.

Ray Train's own setup opens a store that listens on every address of the machine (Ray 2.60 with
torch 2.13). Its controller, which has no use for torch, would also import it before any worker is
started; so this module imports it on the workers alone, whom the controller sends its functions.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import psutil
import ray
import ray.train
from ray.exceptions import GetTimeoutError
from ray.train.backend import Backend, BackendConfig

from omnimat.training.listening import listening_store

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

LEAVE_TIMEOUT_S = 30.0

_opened: list[TCPStore] = []  # a store lives as long as its process, or until the next one


@dataclass
class OneAddressConfig(BackendConfig):  # type: ignore[misc]
    """What Ray Train knows of torch.

    Attributes:
        timeout_s: how long workers wait for each other.
    """

    timeout_s: int

    @property
    def backend_cls(self) -> type[Any]:
        """Class that sets up the process group."""
        return _OneAddressBackend


class _OneAddressBackend(Backend):  # type: ignore[misc]
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: OneAddressConfig) -> None:
        """Have the first worker open a store, and all of them join by it."""
        address, port = worker_group.execute_single(0, _open)
        has_gpus = worker_group.get_resources_per_worker().get("GPU", 0) > 0
        backend = "nccl" if has_gpus else "gloo"
        timeout_s = backend_config.timeout_s
        ray.get(worker_group.execute_async(_join, backend, address, port, timeout_s))

    def on_shutdown(self, worker_group: Any, backend_config: OneAddressConfig) -> None:
        """Have the workers leave, as far as they still answer."""
        del backend_config
        try:
            ray.get(worker_group.execute_async(_leave), timeout=LEAVE_TIMEOUT_S)
        except GetTimeoutError:
            print(f"workers did not leave their group within {LEAVE_TIMEOUT_S:g} s", flush=True)


def _open() -> tuple[str, int]:
    """Open the store on the address by which other nodes know this one."""
    address = ray.util.get_node_ip_address()
    _opened[:] = [listening_store(address)]
    return address, _opened[0].port


def _join(backend: str, address: str, port: int, timeout_s: float) -> None:
    """Join the process group, and leave in the environment what torchrun would leave there."""
    import torch.distributed as dist
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    told = {
        "RANK": rank,
        "WORLD_SIZE": world_size,
        "LOCAL_RANK": context.get_local_rank(),
        "LOCAL_WORLD_SIZE": context.get_local_world_size(),
        "NODE_RANK": context.get_node_rank(),
        "MASTER_ADDR": address,
        "MASTER_PORT": port,
    }
    os.environ |= {name: str(value) for name, value in told.items()}
    if interface := _interface_of(ray.util.get_node_ip_address()):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", f"={interface}")  # and none that begins so
    timeout = timedelta(seconds=timeout_s)
    store = TCPStore(address, port, is_master=False, timeout=timeout, wait_for_workers=False)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.destroy_process_group()


def _interface_of(address: str) -> str | None:
    """Name the network interface that has an address, or any of 127.0.0.0/8; None if none has."""
    asked = ip_address(address)
    for name, known in psutil.net_if_addrs().items():
        for one in known:
            if one.family in {socket.AF_INET, socket.AF_INET6}:
                there = ip_address(one.address)
                if asked == there or (asked.is_loopback and there.is_loopback):
                    return name
    return None
