"""A run killed anywhere ends with the losses of one that was not; two workers equal one."""

import time
from pathlib import Path

import pytest
from upath import UPath

from omnimat.testing.ray_head import RayHead, descendants, start
from omnimat.training.result import read_history

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

TIMEOUT_S = 400  # far above what a run takes, for busy machines
STEPS = list(range(1, 21))  # four an epoch; checkpoints after 8, 16 and 20


class Run:
    """`omnimat run` of the tiny job on the shared head."""

    def __init__(self, head: RayHead, jobs: Path, name: str, overrides: tuple[str, ...]) -> None:
        self.folder = head.storage / "runs" / name
        self.log = head.storage / f"{name}.log"
        command = ["omnimat", "run", "jobs/pretrain.yaml", "--set", f"name={name}"]
        for override in overrides:
            command += ["--set", override]
        self.process = start(command, head.environment, self.log, jobs)

    def wait_until_after_checkpoint(self) -> None:
        """Wait until steps after the first checkpoint, of step 8, are reported."""
        deadline_s = time.monotonic() + TIMEOUT_S
        while '"step": 10,' not in "".join(self.reports()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline_s, self.log.read_text()
            time.sleep(0.02)

    def finish(self) -> None:
        assert self.process.wait(TIMEOUT_S) == 0, self.log.read_text()
        assert (self.folder / "result.json").exists()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def reports(self) -> list[str]:
        metrics = self.folder / "metrics.jsonl"
        return metrics.read_text().splitlines() if metrics.exists() else []

    def losses(self) -> list[float]:
        history = read_history(UPath(self.folder))
        assert history["step"].tolist() == STEPS
        return history["loss"].tolist()


@pytest.fixture(scope="module")
def launch(ray_head, tiny_jobs_folder):
    runs = []

    def _launch(name: str, *overrides: str) -> Run:
        runs.append(Run(ray_head, tiny_jobs_folder, name, overrides))
        return runs[-1]

    yield _launch
    for run in runs:
        run.kill()


@pytest.fixture(scope="module")
def whole(launch) -> list[float]:
    """Losses of one worker that nobody killed."""
    run = launch("whole")
    run.finish()
    assert len(run.reports()) == len(STEPS)
    return run.losses()


def test_killed_worker_costs_only_steps(whole, launch, ray_head):
    # Two workers at once: kill -9 of one, and what two compute is what one computes.
    run = launch("worker", "training.num_workers=2")
    run.wait_until_after_checkpoint()
    family = descendants(ray_head.process.pid)
    workers = [p for p in family if "RayTrainWorker" in "".join(p.cmdline()[:1])]
    assert len(workers) == 2
    workers[-1].kill()
    run.finish()
    assert len(run.reports()) > len(STEPS), "the worker was killed too late to lose a step"
    # float32 sums in another order, over 20 steps of AdamW: measured worst 1.5e-6.
    assert run.losses() == pytest.approx(whole, rel=1e-5)


def test_torchrun_computes_what_ray_computes(whole, ray_head, tiny_jobs_folder):
    command = ("omnimat", "train", "jobs/pretrain.yaml", "--launcher=torchrun")
    done = ray_head.command(*command, "--set=name=torchrun", folder=tiny_jobs_folder, timeout_s=400)
    assert done.returncode == 0, done.stdout + done.stderr
    history = read_history(UPath(ray_head.storage / "runs" / "torchrun"))
    # Bit for bit: another launcher, not another computation.
    assert history["loss"].tolist() == whole


def test_killed_driver_goes_on_where_it_was(whole, launch):
    run = launch("driver")
    run.wait_until_after_checkpoint()
    run.kill()
    assert not (run.folder / "result.json").exists()
    run = launch("driver")
    run.finish()
    # The same batches, weights, moments and random state on the same number of threads.
    assert run.losses() == whole
    assert len(run.reports()) < 2 * len(STEPS), "it began anew"
