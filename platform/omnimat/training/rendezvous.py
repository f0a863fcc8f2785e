"""Where the workers of one machine meet under torchrun: a store that only they can reach.

The store of torchrun's own meeting points, with which several machines could join, listens on every
address of the machine (torch 2.13).
"""

from __future__ import annotations

import sys

from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)

from omnimat.base.lease import CheckHeld, unleased
from omnimat.training.listening import listening_store

BACKEND = "omnimat-one-machine"
LOOPBACK = "127.0.0.1"
LOOPBACK_INTERFACE = "lo" if sys.platform == "linux" else "lo0"


class OneMachine(RendezvousHandler):
    """The meeting point of one agent of torchrun and its workers."""

    def __init__(self, parameters: RendezvousParameters) -> None:
        """Open the store, which lives as long as the agent."""
        self._run_id = parameters.run_id
        self._check_held: CheckHeld = parameters.get("check_held", unleased)
        self._store = listening_store(LOOPBACK)
        self._is_closed = False

    def get_backend(self) -> str:
        """Return the name under which torchrun knows this kind of meeting point."""
        return BACKEND

    @property
    def use_agent_store(self) -> bool:
        """Let the workers use the agent's store, so that none of them opens one."""
        return True

    def next_rendezvous(self) -> RendezvousInfo:
        """Give the agent its own store: it is alone. It asks before each start of its workers.

        Raises:
            LostError: another process has taken the run over, so that no worker is to be started.
        """
        self._check_held()
        address = RendezvousStoreInfo(LOOPBACK, self._store.port)
        return RendezvousInfo(PrefixStore("agent", self._store), 0, 1, address)

    def is_closed(self) -> bool:
        """Return whether the run has ended."""
        return self._is_closed

    def set_closed(self) -> None:
        """Remember that the run has ended."""
        self._is_closed = True

    def num_nodes_waiting(self) -> int:
        """Return that no other machine wants to join."""
        return 0

    def get_run_id(self) -> str:
        """Return the id that the agent was given."""
        return self._run_id

    def shutdown(self) -> bool:
        """Do nothing: the store ends with the process."""
        return True


rendezvous_handler_registry.register(BACKEND, OneMachine)
