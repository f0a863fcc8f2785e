"""A Ray of a test's own: other ports, token and folder than any other Ray of this machine.

Its head may be joined by further nodes, each with its own raylet and address on loopback.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import psutil

from omnimat.testing.waiting import LIMIT_S, wait_for

STOP_TIMEOUT_S = 30
NUM_ATTEMPTS = 3  # Ray gives its processes 30 s to start, however busy the machine is
HEAD_IP = "127.0.0.2"  # Ray would put the card's address in the place of 127.0.0.1
_PR_SET_PDEATHSIG = 1


def clean_environment(**variables: str) -> dict[str, str]:
    """Give this process's environment without any other Ray, and with our commands on the path.

    Ray's workers get their share of a busy machine: of themselves they would leave it to others.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    ours = {"PATH": path, "OMP_NUM_THREADS": "1", "RAY_worker_niceness": "0"}
    return environment | ours | variables


def start(
    command: Sequence[str], environment: Mapping[str, str], output: Path, folder: Path
) -> subprocess.Popen[bytes]:
    """Start a command that ends with this process, however this one ends."""
    with output.open("ab") as sink:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            preexec_fn=_end_with_parent,
        )


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def descendants(pid: int) -> list[psutil.Process]:
    """List what a process has started, and what those have; none where it has ended."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def named(processes: Sequence[psutil.Process], name: str) -> list[psutil.Process]:
    """Choose the Ray processes of a name; those that have just ended have none."""
    chosen = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # of which a zombie is one
            if name in " ".join(process.cmdline()):
                chosen.append(process)
    return chosen


def kill(processes: Sequence[psutil.Process]) -> None:
    """Kill exactly these processes; one that has ended is no error, nor is its reused pid hit."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=STOP_TIMEOUT_S)


@dataclass(frozen=True)
class RayNode:
    """A node beside the head: ``ray start --block`` and all it started."""

    process: subprocess.Popen[bytes]

    def holds(self, name: str) -> bool:
        """Say whether a Ray process of this name runs on it."""
        return bool(named(descendants(self.process.pid), name))

    def kill(self) -> None:
        """Lose the machine: raylet, workers and all else are gone at the same moment.

        Stronger than ``Cluster.remove_node`` of Ray, which lets the raylet say that it leaves.
        """
        family = [psutil.Process(self.process.pid), *descendants(self.process.pid)]
        for process in family:  # so that none sees another go
            process.suspend()
        kill(family)
        self.process.wait()

    def stop(self) -> None:
        """End it, if it has not ended yet."""
        if self.process.poll() is None:
            self.kill()


@dataclass(frozen=True)
class RayHead:
    """A running head, and how to talk to it.

    Attributes:
        process: ``ray start --head --block``.
        environment: of commands that talk to this head.
        storage: what jobs on it see as ``$OMNIMAT_STORAGE``.
        temp_folder: sessions and logs.
        nodes: added so far.
    """

    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    storage: Path
    temp_folder: Path
    nodes: list[RayNode] = field(default_factory=list)

    @classmethod
    def start(cls, folder: Path, storage: Path, *options: str, **variables: str) -> Self:
        """Start a head in a folder, where jobs without a working directory will run.

        Args:
            folder: where it starts.
            storage: what jobs see as ``$OMNIMAT_STORAGE``, unless a variable says otherwise.
            options: further ones of ``ray start``.
            variables: of its environment, and of what talks to it.

        Raises:
            RuntimeError: with the head's log, if it does not come up.
        """
        for _ in range(NUM_ATTEMPTS - 1):
            with contextlib.suppress(RuntimeError):
                return cls._start(folder, storage, options, variables)
        return cls._start(folder, storage, options, variables)

    @classmethod
    def _start(
        cls, folder: Path, storage: Path, options: Sequence[str], variables: Mapping[str, str]
    ) -> Self:
        # Not a test's own folder: a path to a Unix socket may hold 107 bytes.
        temp_folder = Path(tempfile.mkdtemp(prefix="omnimat-", dir="/tmp"))
        gcs_port, dashboard_port, client_port = free_ports(3)
        of_the_head = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{dashboard_port}",
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            "RAY_DEDUP_LOGS": "0",
            "OMNIMAT_STORAGE": str(storage),
        }
        of_the_head = clean_environment(**{**of_the_head, **variables})
        command = ["ray", "start", "--head", "--block", "--disable-usage-stats", "--num-cpus=2"]
        command += [f"--node-ip-address={HEAD_IP}", f"--port={gcs_port}"]
        command += ["--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard_port}"]
        command += ["--dashboard-agent-listen-port=0", f"--ray-client-server-port={client_port}"]
        command += ["--min-worker-port=0", "--max-worker-port=0"]
        command += [f"--temp-dir={temp_folder}", *options]
        log = temp_folder / "head.log"
        process = start(command, of_the_head, log, folder)
        environment = of_the_head | {"RAY_ADDRESS": f"{HEAD_IP}:{gcs_port}"}
        head = cls(process, environment, storage, temp_folder)
        try:
            wait_for(lambda: "Ray runtime started" in log.read_text(), process, log)
        except RuntimeError:
            head.stop()
            raise
        return head

    def command(self, *command: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run a command against this head."""
        return subprocess.run(
            command,
            env=self.environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )

    @contextlib.contextmanager
    def connected(self, **runtime_env: Any) -> Iterator[None]:
        """Make this process a driver on this head for a while.

        Ray reads the token as it is imported: it must have been in ``os.environ`` before.

        Args:
            runtime_env: of what it starts there.
        """
        import ray

        names = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS")  # of which Ray's state API asks too
        with patch.dict(os.environ, {name: self.environment[name] for name in names}):
            ray.init(log_to_driver=False, runtime_env=runtime_env)
            try:
                yield
            finally:
                ray.shutdown()

    def add_node(self, num_cpus: int) -> RayNode:
        """Start a further node on this machine; it joins within seconds."""
        number = len(self.nodes) + 1
        command = ["ray", "start", f"--address={self.environment['RAY_ADDRESS']}", "--block"]
        command += [f"--node-ip-address=127.0.1.{number}", f"--num-cpus={num_cpus}"]
        command += ["--dashboard-agent-listen-port=0", "--disable-usage-stats"]
        command += ["--min-worker-port=0", "--max-worker-port=0"]
        command += [f"--temp-dir={self.temp_folder / f'node{number}'}"]
        log = self.temp_folder / f"node{number}.log"
        self.nodes.append(RayNode(start(command, self.environment, log, self.storage)))
        return self.nodes[-1]

    def stop(self) -> None:
        """End the head and all it started; ``ray stop`` would end every Ray of this machine."""
        for node in self.nodes:
            node.stop()
        family = descendants(self.process.pid)
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
        kill(family)
        shutil.rmtree(self.temp_folder, ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
