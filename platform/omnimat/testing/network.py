"""Several machines on one: network namespaces with addresses of their own, joined by a switch.

Each has its own interfaces, ports and loopback, and reaches the others through the switch alone;
none reaches anything else. Processors, memory and disk are shared.
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
_SUBNET = "10.77.0"  # of no consequence outside: no namespace of ours has a way out
_BRIDGE = "switch"


class NoNamespaces(RuntimeError):
    """Network namespaces may not be made here."""


@dataclass(frozen=True)
class Machine:
    """One namespace.

    Attributes:
        name: of the namespace.
        address: of it on the network.
        network: that it is on.
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
        """Give the command that runs a command on this machine."""
        return ["ip", "netns", "exec", self.name, *command]

    def processes(self) -> list[psutil.Process]:
        """List what runs on it."""
        found = []
        for pid in _ip("netns", "pids", self.name).split():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                found.append(psutil.Process(int(pid)))
        return found

    def cut(self) -> None:
        """Pull its cable: all that runs on it goes on, and reaches nothing."""
        self.network.set_port(self.name, "down")

    def mend(self) -> None:
        """Put its cable back."""
        self.network.set_port(self.name, "up")

    def kill(self) -> None:
        """Lose the machine: all that runs on it is gone, nobody says goodbye, and none answers."""
        self.cut()
        while processes := self.processes():
            kill(processes)
        for process in self._started:
            process.wait()


@dataclass(frozen=True)
class Network:
    """Machines on a switch, made by ``network()``.

    Attributes:
        switch: namespace that joins them.
        machines: made so far.
    """

    switch: str
    machines: list[Machine] = field(default_factory=list)
    _namespaces: list[str] = field(default_factory=list)

    def add(self) -> Machine:
        """Add a machine.

        Raises:
            NoNamespaces: by a sentence of the system.
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
        """Set the switch's end of a machine's cable."""
        _ip("-n", self.switch, "link", "set", name[-15:], *state)

    def remove(self) -> None:
        """End all that runs on it, and the network."""
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
    """Make a network that ends with the block.

    Raises:
        NoNamespaces: none may be made here.
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
