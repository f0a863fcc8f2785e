"""The store by which workers find each other, and how long they wait for that."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

PATIENCE = timedelta(hours=1)
"""How long workers wait for each other: one may have the data set of a run to look through, or a
large checkpoint to read and check. NCCL's own ten minutes would end the run meanwhile."""


def listening_store(address: str) -> TCPStore:
    """Make a store that listens on one address of this machine, at a free port."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    listener = socket.create_server((address, 0))
    port = listener.getsockname()[1]
    return TCPStore(
        address, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach()
    )
