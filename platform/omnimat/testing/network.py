"""Several machines simulated on one: network namespaces with their own addresses and a switch.

Each machine has its own interfaces, ports and loopback and reaches the others only through the
switch; none can reach anything else. Processors, memory and disk are shared.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from omnimat.testing.ray_head import kill, start

INTERFACE = "eth0"
_SUBNET = "10.77.0"  # any subnet will do, because the namespaces have no way out
_BRIDGE = "switch"


class NoNamespaces(RuntimeError):
    """Creating network namespaces is not permitted here."""


@dataclass(frozen=True)
class Machine:
    """A simulated machine, which is a network namespace.

    Attributes:
        name: name of the namespace.
        address: its address on the network.
        network: the network that it belongs to.
    """

    name: str
    address: str
    network: Network
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        output: Path,
        folder: Path,
    ) -> subprocess.Popen[bytes]:
        """Start a command on this machine; see ``ray_head.start``."""
        process = start(self.command(*command), environment, output, folder)
        self._started.append(process)
        return process

    def command(self, *command: str) -> list[str]:
        """Return the command line that runs a command on this machine."""
        return ["ip", "netns", "exec", self.name, *command]

    def processes(self) -> list[psutil.Process]:
        """List the processes that run on this machine."""
        found = []
        for pid in _ip("netns", "pids", self.name).split():
            with contextlib.suppress(psutil.NoSuchProcess):  # the process has just ended
                found.append(psutil.Process(int(pid)))
        return found

    def cut(self) -> None:
        """Disconnect its network cable: its processes keep running but can reach nothing."""
        self.network.set_port(self.name, "down")

    def mend(self) -> None:
        """Connect its network cable again."""
        self.network.set_port(self.name, "up")

    def kill(self) -> None:
        """Lose the machine: all its processes are killed and cannot even close connections."""
        self.cut()
        while processes := self.processes():
            kill(processes)
        for process in self._started:
            process.wait()


@dataclass(frozen=True)
class Network:
    """Machines that are joined by a switch; use ``network()`` to make one.

    Attributes:
        switch: name of the namespace that joins the machines.
        machines: the machines added so far.
    """

    switch: str
    machines: list[Machine] = field(default_factory=list)
    _namespaces: list[str] = field(default_factory=list)

    def add(self) -> Machine:
        """Add a machine.

        Raises:
            NoNamespaces: no namespace may be created; the message is that of the system.
        """
        number = len(self.machines) + 1
        machine = Machine(f"{self.switch}-{number}", f"{_SUBNET}.{number}", self)
        with _permitted():
            self._make_namespace(machine.name)
            cable = ("link", "add", INTERFACE, "netns", machine.name, "type", "veth")
            _ip(*cable, "peer", "name", machine.name[-15:], "netns", self.switch)
            self.set_port(machine.name, "master", _BRIDGE, "up")
            _ip("-n", machine.name, "address", "add", f"{machine.address}/24", "dev", INTERFACE)
            for interface in (INTERFACE, "lo"):
                _ip("-n", machine.name, "link", "set", interface, "up")
        self.machines.append(machine)
        return machine

    def set_port(self, name: str, *state: str) -> None:
        """Set the state of the switch's port for a machine."""
        _ip("-n", self.switch, "link", "set", name[-15:], *state)

    def remove(self) -> None:
        """Kill all processes on the network and remove it."""
        for machine in self.machines:
            machine.kill()
        for name in reversed(self._namespaces):
            _ip("netns", "delete", name)

    def _make_switch(self) -> None:
        with _permitted():
            self._make_namespace(self.switch)
            _ip("-n", self.switch, "link", "add", _BRIDGE, "type", "bridge")
            _ip("-n", self.switch, "link", "set", _BRIDGE, "up")

    def _make_namespace(self, name: str) -> None:
        _ip("netns", "add", name)
        self._namespaces.append(name)


@contextmanager
def network() -> Iterator[Network]:
    """Make a network that is removed at the end of the context.

    Raises:
        NoNamespaces: creating network namespaces is not permitted here.
    """
    made = Network(f"omnimat-{os.getpid()}")
    try:
        made._make_switch()
        yield made
    finally:
        made.remove()


@contextmanager
def _permitted() -> Iterator[None]:
    try:
        yield
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        raise NoNamespaces(f"no network namespaces here: {reason.strip()}") from None


def _ip(*arguments: str) -> str:
    done = subprocess.run(("ip", *arguments), capture_output=True, text=True, check=True)
    return done.stdout
