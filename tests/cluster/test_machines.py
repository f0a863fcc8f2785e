"""A run on several machines, each with an address of its own, that come, go, and lose each other.

Every step of it is that of one worker on one machine.
"""

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from upath import UPath

from omnimat.testing.waiting import LIMIT_S
from omnimat.training.history import read_history, read_reports

pytestmark = [pytest.mark.ray, pytest.mark.soak, pytest.mark.timeout(3600)]

TRAINER = ("--labels=omnimat.io/role=trainer", '--resources={"trainer": 1}')
FEATURIZER = ("--labels=omnimat.io/role=featurizer",)
OUTAGE_S = 20  # shorter than what a machine is given up after
NUM_STEPS = 600
OVERRIDES = {
    "name": "spread",
    # So that a step takes a while.
    "modalities": "{structure: {encoder: {preset: paper}}, "
    "text: {featurizer: {source: hashed}, encoder: {preset: tiny}}}",
    "training.global_batch_size": 13,  # divides by neither 2 nor 3
    "training.num_epochs": NUM_STEPS // 2,
    # Small: what adding up in another order changes grows with every step.
    "training.lr": 2e-5,
    "training.checkpoint_interval_epochs": 5,
    "training.num_workers": 3,
    "training.min_workers": 2,
    "training.resize_interval_s": 2,
    "training.cpus_per_worker": 1,
    "training.resources_per_worker": "{trainer: 1}",
    "training.max_failures": 10,
    "stream.stall_timeout_s": 20,
}


class Run:
    """``omnimat run`` on the head."""

    def __init__(self, cluster, jobs: Path) -> None:
        self.folder = UPath(cluster.environment["OMNIMAT_STORAGE"]) / "runs" / "spread"
        self.log = cluster.folder / "run.log"
        command = ["omnimat", "run", "jobs/pretrain.yaml"]
        command += [f"--set={key}={value}" for key, value in OVERRIDES.items()]
        self.process = cluster.head.start(command, cluster.environment, self.log, jobs)

    def wait_for_steps(self, num_workers: int, count: int = 3) -> float:
        """Wait for steps of so many workers from now on, and give the seconds until the first."""
        started_s, before = time.monotonic(), len(list(read_reports(self.folder)))
        first_s = 0.0
        while True:
            reports = list(read_reports(self.folder))[before:]
            taken = [r for r in reports if r["num_workers"] == num_workers]
            if taken and not first_s:
                first_s = time.monotonic() - started_s
            if len(taken) >= count:
                return first_s
            assert self.process.poll() is None, self.log.read_text()[-5000:]
            assert time.monotonic() < started_s + LIMIT_S, self.log.read_text()[-5000:]
            time.sleep(0.1)


def test_machines_come_and_go(cluster, tiny_jobs_folder, capsys):
    figures = {}
    cluster.join(*FEATURIZER, num_cpus=2)
    for _ in range(2):
        cluster.join(*TRAINER, num_cpus=1)
    cluster.wait_for(num_nodes=4)
    run = Run(cluster, tiny_jobs_folder)
    figures["first step after the start"] = run.wait_for_steps(num_workers=2)
    third = cluster.join(*TRAINER, num_cpus=1)
    figures["first step of three after a machine joined"] = run.wait_for_steps(num_workers=3)
    third.kill()
    figures["first step of two after one was lost"] = run.wait_for_steps(num_workers=2)
    third = cluster.join(*TRAINER, num_cpus=1)
    figures["first step of three again"] = run.wait_for_steps(num_workers=3)
    third.cut()
    time.sleep(OUTAGE_S)
    third.mend()
    figures[f"next step after {OUTAGE_S} s without network"] = run.wait_for_steps(num_workers=3)
    assert run.process.wait(LIMIT_S) == 0, run.log.read_text()[-5000:]
    with capsys.disabled():
        print("", *(f"{what}: {seconds:.0f} s" for what, seconds in figures.items()), sep="\n")

    alone = on_one_machine(cluster, tiny_jobs_folder)
    history = read_history(run.folder)
    assert history["step"].tolist() == alone["step"].tolist() == list(range(1, NUM_STEPS + 1))
    # One worker and three of torchrun differ by 0.4 % at most in 600 steps, two batches by 2.7 %.
    np.testing.assert_allclose(history["loss"], alone["loss"], rtol=0.01)
    assert np.median(np.abs(np.diff(alone["loss"]) / alone["loss"][1:])) > 0.02
    said = run.log.read_text()
    assert "trainers: 2 x (1 CPU, 1 trainer) on any node" in said
    assert "(0.25 CPU) on 1 node labelled omnimat.io/role=featurizer" in said


def on_one_machine(cluster, jobs: Path):
    """Train the same without Ray, by one worker."""
    overrides = OVERRIDES | {"name": "alone", "training.num_workers": 1}
    del overrides["training.min_workers"]
    command = ["omnimat", "train", "jobs/pretrain.yaml", "--launcher=torchrun"]
    command += [f"--set={key}={value}" for key, value in overrides.items()]
    done = subprocess.run(
        cluster.head.command(*command),
        env=cluster.environment,
        cwd=jobs,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return read_history(UPath(cluster.environment["OMNIMAT_STORAGE"]) / "runs" / "alone")
