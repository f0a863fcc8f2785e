"""A run that loses workers, its driver, a machine or its disk ends with the losses of one that lost
nothing, bit for bit."""

import contextlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from upath import UPath

from omnimat.base.provenance import sha256_of
from omnimat.testing.poison import OLD_NAMES, listed, poison, put, seal
from omnimat.testing.ray_head import RayHead, descendants, kill, named, start
from omnimat.testing.waiting import LIMIT_S, wait_for
from omnimat.training.checkpoint_folders import newest_checkpoint
from omnimat.training.history import read_history, read_reports

pytestmark = [pytest.mark.ray, pytest.mark.slow]

STEPS = list(range(1, 21))  # four an epoch; checkpoints after 8, 16 and 20
SEED = 20
DASHBOARDS = Path(__file__).parents[2] / "dashboards" / "observability"
ALERTS = DASHBOARDS / "alerts.yml"
# Series of other jobs, of nodes with a GPU, and of a cluster that has lost a node.
NOT_SHOWN = re.compile(
    r"ray_omnimat_(ingested|refused|shards|featurized|records_to|trials|best|leaderboard)_\w+|"
    r"ray_node_(gpus_utilization|gram_used|failure_total)"
)
WORKER = "RayTrainWorker"
OMNIMAT_RUN = ("omnimat", "run")


class Run:
    """The tiny job on two workers of the shared head, by ``omnimat run`` or another command."""

    def __init__(
        self,
        head: RayHead,
        jobs: Path,
        name: str,
        *overrides: str,
        command: tuple[str, ...] = OMNIMAT_RUN,
    ) -> None:
        self.folder = head.storage / "runs" / name
        self.log = head.storage / f"{name}-{time.monotonic_ns()}.log"
        arguments = ["jobs/pretrain.yaml"]
        for override in (f"name={name}", "training.num_workers=2", *overrides):
            arguments += ["--set", override]
        self.process = start([*command, *arguments], head.environment, self.log, jobs)

    def wait_for(self, is_there: Callable[[], object]) -> None:
        wait_for(is_there, self.process, self.log, poll_s=0.02)

    def wait_for_step(self, step: int) -> None:
        """Wait until a step is reported that was not when this was called."""
        num_before = len(self.steps())
        self.wait_for(lambda: any(taken >= step for taken in self.steps()[num_before:]))

    def finish(self) -> None:
        assert self.process.wait(LIMIT_S) == 0, self.log.read_text()
        assert (self.folder / "result.json").exists()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def steps(self) -> list[int]:
        """Give every step reported, as often as it was taken."""
        return [int(report["step"]) for report in read_reports(UPath(self.folder))]

    def losses(self) -> list[float]:
        history = read_history(UPath(self.folder))
        assert history["step"].tolist() == STEPS
        return history["loss"].tolist()


@pytest.fixture(scope="module")
def launch(ray_head, tiny_jobs_folder):
    runs = []

    def launch(name: str, *overrides: str, command: tuple[str, ...] = OMNIMAT_RUN) -> Run:
        runs.append(Run(ray_head, tiny_jobs_folder, name, *overrides, command=command))
        return runs[-1]

    yield launch
    for run in runs:
        run.kill()


@pytest.fixture(scope="module")
def watched(launch, ray_head, tiny_jobs_folder) -> tuple[Run, list[Sample], list[list[str]]]:
    """A run that lost nothing, what Prometheus saw at its last step, and where workers listened.

    It was submitted, from elsewhere, with the folder of its files.
    """
    submit = ("ray", "job", "submit", "--working-dir", str(tiny_jobs_folder), "--")
    run = launch("whole", command=submit)
    run.wait_for_step(STEPS[0])  # to ask before that would only slow the start
    listening = [
        [one.laddr.ip for one in worker.net_connections() if one.status == psutil.CONN_LISTEN]
        for worker in workers(ray_head)
    ]
    run.wait_for(lambda: of_run("whole", shown(ray_head)).get("step") == STEPS[-1])
    last = shown(ray_head)
    run.finish()
    assert run.steps() == STEPS
    return run, last, listening


@pytest.fixture(scope="module")
def whole(watched) -> Run:
    return watched[0]


def workers(head: RayHead) -> list[psutil.Process]:
    return named(descendants(head.process.pid), WORKER)


def shown(head: RayHead) -> list[Sample]:
    """Read what Ray shows to Prometheus."""
    discovery = json.loads((head.temp_folder / "prom_metrics_service_discovery.json").read_text())
    text = ""
    for target in discovery[0]["targets"]:
        with contextlib.suppress(URLError):  # of a process that does not listen yet
            text += urlopen(f"http://{target}/metrics", timeout=LIMIT_S).read().decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def of_run(run: str, samples: list[Sample]) -> dict[str, float]:
    """Choose the metrics of a run, named as in its history."""
    metrics: dict[str, float] = {}
    for sample in samples:
        if sample.labels.get("run") == run:
            pair = sample.labels.get("pair")
            name = sample.name.removeprefix("ray_omnimat_")
            metrics[f"loss/{pair}" if name == "pair_loss" else name] = sample.value
    return metrics


def test_a_job_submitted_from_elsewhere_prints_each_step_once(whole, ray_head):
    printed = re.findall(r"step (\d+)/20  loss", whole.log.read_text())
    assert [int(step) for step in printed] == STEPS
    assert (ray_head.storage / "datasets" / "tiny-data" / "manifest.json").exists()


def test_prometheus_sees_what_was_reported(watched):
    run, samples, _ = watched
    last = of_run("whole", samples)
    assert last == list(read_reports(UPath(run.folder)))[-1]
    assert {"loss/dos|text", "queued_rows", "quarantined_records"} < last.keys()


def test_workers_listen_on_the_address_of_their_cluster_alone(watched):
    """In each worker, Ray itself has one server more, on every address of a node like this one."""
    assert len(watched[2]) == 2
    for addresses in watched[2]:
        assert any(ip_address(ip).is_loopback for ip in addresses)
        assert sum(not ip_address(ip).is_loopback for ip in addresses) <= 1


def test_what_panels_and_alerts_ask_of_ray_and_of_training_is_shown(watched):
    texts = [path.read_text() for path in (*DASHBOARDS.glob("grafana/*.json"), ALERTS)]
    names = {name for text in texts for name in re.findall(r"\bray_\w+[a-z]\b", text)}
    asked = {name for name in names if not NOT_SHOWN.fullmatch(name)}
    assert len(asked) > 25
    assert sorted(asked - {sample.name for sample in watched[1]}) == []


@pytest.fixture
def random_step(request, capsys):
    """Choose a step after which something is lost, and say which."""
    generator = random.Random(f"{SEED} {request.node.name}")

    def random_step(first: int, what: str) -> int:
        step = generator.randint(first, STEPS[-4])
        with capsys.disabled():
            print(f"\n{what} is lost after step {step}", end=" ")
        return step

    return random_step


@pytest.mark.soak
def test_killed_driver_and_killed_worker(whole, launch, ray_head, random_step):
    run = launch("killed")
    run.wait_for_step(random_step(9, "the driver"))
    run.kill()
    assert not (run.folder / "result.json").exists()

    run = launch("killed")
    run.wait_for_step(random_step(9, "a worker"))
    alive = workers(ray_head)
    assert len(alive) == 2
    kill(random.Random(SEED).sample(alive, 1))
    run.finish()
    # The same batches, weights, moments and random numbers on as many workers: bit for bit.
    assert run.losses() == whole.losses()
    taken = run.steps()
    assert taken.count(8) == 1, "it began anew"
    assert len(taken) > len(STEPS), "nothing was lost"


@pytest.mark.soak
def test_a_driver_that_was_stopped_for_long_has_lost_its_run(whole, launch, ray_head, monkeypatch):
    """Its workers go on without it, until they find that another driver has taken over."""
    monkeypatch.setitem(ray_head.environment, "OMNIMAT_LEASE_STALE_AFTER_S", "5")
    first = launch("stopped")
    first.wait_for_step(3)
    first.process.send_signal(signal.SIGSTOP)
    second = launch("stopped")
    second.finish()
    assert "which gives no sign" in second.log.read_text()
    first.process.send_signal(signal.SIGCONT)
    assert first.process.wait(LIMIT_S) == 1, first.log.read_text()
    assert f"{first.folder} was taken over by " in first.log.read_text()
    assert second.losses() == whole.losses()


COUNT_NODES = """
import sys, time, ray
ray.init(address="auto", log_to_driver=False)
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[1]):
    time.sleep(0.1)
"""


@pytest.mark.soak
def test_lost_machine(whole, launch, ray_head, random_step):
    """Three nodes with room for one worker each; one that holds a worker is gone at once."""
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


def test_poisoned_checkpoints_are_named_and_not_executed(whole, launch):
    """Even if their manifests agree; there is none before them, and the run does not begin anew."""
    folder = whole.folder.with_name("poisoned")
    shutil.copytree(whole.folder, folder)
    (folder / "result.json").unlink()
    for checkpoint in (folder / "checkpoints").iterdir():
        put(checkpoint, [*listed(checkpoint), *OLD_NAMES], poison(folder / "executed"))
        seal(checkpoint)
    before = list(read_reports(UPath(folder)))
    run = launch("poisoned", "training.num_workers=1", "training.max_failures=0")
    assert run.process.wait(LIMIT_S) == 1, run.log.read_text()
    said = [line for line in run.log.read_text().splitlines() if line.startswith("omnimat: no ")]
    assert len(said) == 1
    assert "progress.json is damaged" in said[0]
    assert "--fresh" in said[0]
    assert not (folder / "executed").exists()
    assert list(read_reports(UPath(folder))) == before


@pytest.fixture
def small_disk(ray_head, whole):
    """Give a folder room for one checkpoint and a half, and a function that gives it more."""
    folder = ray_head.storage / "runs" / "full" / "checkpoints"
    folder.mkdir(parents=True)
    checkpoint = newest_checkpoint(UPath(whole.folder))
    size = sum(p.stat().st_size for p in Path(checkpoint.path).rglob("*") if p.is_file())
    command = ["mount", "-t", "tmpfs", "-o", f"size={size * 3 // 2}", "omnimat-test", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    yield lambda: subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.soak
def test_full_disk_and_then_a_killed_worker(whole, launch, small_disk, ray_head):
    run = launch("full", "training.max_failures=1")
    assert run.process.wait(LIMIT_S) == 1, run.log.read_text()
    said = [line for line in run.log.read_text().splitlines() if line.startswith("omnimat: ")]
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert "the checkpoint before it is untouched" in said[0]
    assert run.steps().count(9) == 2, "it was not tried again"
    kept = newest_checkpoint(UPath(run.folder))
    assert kept.name.startswith("000000008-")
    content = sha256_of(kept)

    small_disk()
    run = launch("full", "training.max_failures=1")
    run.wait_for_step(9)
    assert sha256_of(kept) == content
    lost = workers(ray_head)
    assert len(lost) == 2
    kill(lost[:1])
    run.wait_for(lambda: set(workers(ray_head)) - set(lost))
    run.finish()
    assert run.steps().count(8) == 1, "it began anew"
    # The same batches, weights, moments and random numbers on as many workers: bit for bit.
    assert run.losses() == whole.losses()
