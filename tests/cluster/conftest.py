import secrets
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from omnimat.testing.network import INTERFACE, Machine, Network, NoNamespaces, network
from omnimat.testing.ray_head import clean_environment
from omnimat.testing.waiting import LIMIT_S

GCS_PORT = 6379
# A machine that says nothing for half a minute is given up.
HEALTH = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "5",
}

COUNT_NODES = """
import sys, time, ray
ray.init(address="auto", log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[1]):
    time.sleep(0.1)
"""


@dataclass(frozen=True)
class Cluster:
    """Ray on machines of a network of its own; the head has no CPU to give, as on Kubernetes."""

    network: Network
    head: Machine
    environment: dict
    folder: Path

    def join(self, *options: str, num_cpus: int) -> Machine:
        machine = self.network.add()
        self.start_ray(
            machine,
            f"--address={self.head.address}:{GCS_PORT}",
            f"--num-cpus={num_cpus}",
            *options,
        )
        return machine

    def wait_for(self, num_nodes: int) -> None:
        command = self.head.command(sys.executable, "-c", COUNT_NODES, str(num_nodes))
        subprocess.run(command, env=self.environment, check=True, timeout=LIMIT_S)

    def start_ray(self, machine: Machine, *options: str) -> None:
        name = machine.address.rpartition(".")[2]
        command = ["ray", "start", "--block", "--disable-usage-stats", *options]
        command += [f"--node-ip-address={machine.address}", f"--temp-dir={self.folder / name}"]
        log = self.folder / f"{name}.log"
        machine.start(command, self.environment, log, self.folder)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head alone."""
    storage = tmp_path_factory.mktemp("storage")
    try:
        with network() as made, tempfile.TemporaryDirectory(dir="/tmp") as folder:
            head = made.add()
            environment = clean_environment(
                RAY_AUTH_MODE="token",
                RAY_AUTH_TOKEN=secrets.token_hex(32),
                RAY_DEDUP_LOGS="0",
                # A host's name may stand for its loopback, as in Debian; gloo asks by name.
                GLOO_SOCKET_IFNAME=INTERFACE,
                OMNIMAT_STORAGE=str(storage),
                **HEALTH,
            )
            ray = Cluster(made, head, environment, Path(folder))
            ray.start_ray(head, "--head", f"--port={GCS_PORT}", "--num-cpus=0")
            environment["RAY_ADDRESS"] = f"{head.address}:{GCS_PORT}"
            yield ray
    except NoNamespaces as error:
        pytest.skip(str(error))
