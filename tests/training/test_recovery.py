"""A run that loses workers, its driver, a machine or its disk ends, bit for bit, with the losses of
a run that lost nothing."""

import contextlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from upath import UPath

from omnimat.base.provenance import sha256_of
from omnimat.testing.ray_head import RayHead, descendants, kill, named, start
from omnimat.training.checkpoint_store import newest_checkpoint
from omnimat.training.history import read_history, read_reports

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

TIMEOUT_S = 300  # far above what a run takes, for busy machines
STEPS = list(range(1, 21))  # four per epoch; checkpoints after steps 8, 16 and 20
SEED = 20
WORKER = "RayTrainWorker"


class Run:
    """A process of ``omnimat run`` that trains the tiny job on two workers of the shared head."""

    def __init__(self, head: RayHead, jobs: Path, name: str, overrides: tuple[str, ...]) -> None:
        self.folder = head.storage / "runs" / name
        self.log = head.storage / f"{name}.log"
        command = ["omnimat", "run", "jobs/pretrain.yaml"]
        for override in (f"name={name}", "training.num_workers=2", *overrides):
            command += ["--set", override]
        self.process = start(command, head.environment, self.log, jobs)

    def wait_for(self, is_there: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + TIMEOUT_S
        while not is_there():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.01)

    def wait_for_step(self, step: int) -> None:
        """Wait for a report, after this call, of a step that is at least ``step``."""
        num_before = len(self.steps())
        self.wait_for(lambda: any(taken >= step for taken in self.steps()[num_before:]))

    def finish(self) -> None:
        assert self.process.wait(TIMEOUT_S) == 0, self.log.read_text()
        assert (self.folder / "result.json").exists()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def steps(self) -> list[int]:
        """Return every reported step, as often as it was taken."""
        return [int(report["step"]) for report in read_reports(UPath(self.folder))]

    def losses(self) -> list[float]:
        history = read_history(UPath(self.folder))
        assert history["step"].tolist() == STEPS
        return history["loss"].tolist()


@pytest.fixture(scope="module")
def launch(ray_head, tiny_jobs_folder):
    runs = []

    def launch(name: str, *overrides: str) -> Run:
        runs.append(Run(ray_head, tiny_jobs_folder, name, overrides))
        return runs[-1]

    yield launch
    for run in runs:
        run.kill()


@pytest.fixture(scope="module")
def watched(launch, ray_head) -> tuple[Run, dict[str, float]]:
    """A run that lost nothing, and what Prometheus saw at its last step."""
    run = launch("whole")
    run.wait_for_step(STEPS[0])  # asking any earlier would only slow down the start
    run.wait_for(lambda: shown(ray_head, "whole").get("step") == STEPS[-1])
    last = shown(ray_head, "whole")
    run.finish()
    assert run.steps() == STEPS
    return run, last


@pytest.fixture(scope="module")
def whole(watched) -> Run:
    return watched[0]


def shown(head: RayHead, run: str) -> dict[str, float]:
    """Read what Ray exports to Prometheus about a run, under the names of its history."""
    discovery = json.loads((head.temp_folder / "prom_metrics_service_discovery.json").read_text())
    text = ""
    for target in discovery[0]["targets"]:
        with contextlib.suppress(URLError):  # the process may not listen yet
            text += urlopen(f"http://{target}/metrics", timeout=TIMEOUT_S).read().decode()
    metrics: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.labels.get("run") == run:
                pair = sample.labels.get("pair")
                name = sample.name.removeprefix("ray_omnimat_")
                metrics[f"loss/{pair}" if name == "pair_loss" else name] = sample.value
    return metrics


def test_prometheus_sees_what_was_reported(watched):
    run, last = watched
    assert last == list(read_reports(UPath(run.folder)))[-1]
    assert {"loss/dos|text", "queued_rows", "quarantined_records"} < last.keys()


@pytest.fixture
def random_step(request, capsys):
    """Return a function that chooses and prints a step after which something is lost."""
    generator = random.Random(f"{SEED} {request.node.name}")

    def random_step(first: int, what: str) -> int:
        step = generator.randint(first, STEPS[-4])
        with capsys.disabled():
            print(f"\n{what} is lost after step {step}", end=" ")
        return step

    return random_step


def test_killed_driver_and_killed_worker(whole, launch, ray_head, random_step):
    run = launch("killed")
    run.wait_for_step(random_step(9, "the driver"))
    run.kill()
    assert not (run.folder / "result.json").exists()

    run = launch("killed")
    run.wait_for_step(random_step(9, "a worker"))
    workers = named(descendants(ray_head.process.pid), WORKER)
    assert len(workers) == 2
    kill(random.Random(SEED).sample(workers, 1))
    run.finish()
    # The same batches, weights, moments and random numbers on as many workers, so bit for bit.
    assert run.losses() == whole.losses()
    taken = run.steps()
    assert taken.count(8) == 1, "the run started from scratch"
    assert len(taken) > len(STEPS), "nothing was lost"


COUNT_NODES = """
import sys, time, ray
ray.init(address="auto", log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[1]):
    time.sleep(0.1)
"""


def test_lost_machine(whole, launch, ray_head, random_step):
    """Of three nodes with room for one worker each, one that holds a worker suddenly vanishes."""
    for _ in range(2):
        ray_head.add_node(num_cpus=2)
    joined = ray_head.command(sys.executable, "-c", COUNT_NODES, "3", folder=ray_head.storage)
    assert joined.returncode == 0, joined.stderr
    run = launch("lost", "training.cpus_per_worker=1.5", "training.max_failures=1")
    run.wait_for_step(random_step(2, "a machine"))
    lost = next(node for node in ray_head.nodes if node.holds(WORKER))
    lost.kill()
    lost_at_s = time.monotonic()
    run.wait_for_step(1)
    print(f"took its next step {time.monotonic() - lost_at_s:.0f} s later", end=" ")
    run.finish()
    assert run.losses() == whole.losses()
    for node in ray_head.nodes:
        node.stop()


@pytest.fixture
def small_disk(ray_head, whole):
    """Limit a folder to one and a half checkpoints; return a function that gives it more room."""
    folder = ray_head.storage / "runs" / "full" / "checkpoints"
    folder.mkdir(parents=True)
    checkpoint = newest_checkpoint(UPath(whole.folder))
    size = sum(p.stat().st_size for p in Path(checkpoint.path).rglob("*") if p.is_file())
    command = ["mount", "-t", "tmpfs", "-o", f"size={size * 3 // 2}", "omnimat-test", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted here")
    yield lambda: subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_full_disk(whole, launch, small_disk):
    run = launch("full", "training.max_failures=1")
    assert run.process.wait(TIMEOUT_S) == 1, run.log.read_text()
    said = [line for line in run.log.read_text().splitlines() if line.startswith("omnimat: ")]
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert "the checkpoint before it is untouched: make room" in said[0]
    assert run.steps().count(9) == 2, "the step was not retried"
    kept = newest_checkpoint(UPath(run.folder))
    assert kept.name.startswith("000000008-")
    content = sha256_of(kept)

    small_disk()
    run = launch("full", "training.max_failures=1")
    run.wait_for_step(9)
    assert sha256_of(kept) == content
    run.finish()
    assert run.steps().count(8) == 1, "the run started from scratch"
    assert run.losses() == whole.losses()
