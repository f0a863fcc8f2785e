"""The same loop under torchrun: without Ray, killed at random steps, and started afresh."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.stream.timing import STAGES
from omnimat.testing.ray_head import clean_environment, descendants, kill, named, start
from omnimat.training.history import read_history, read_reports
from omnimat.training.meter import PHASES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TIMEOUT_S = 400  # far above what a run takes, for busy machines
NUM_KILLS = 5
COMMAND = ("omnimat", "train", "jobs/pretrain.yaml", "--launcher=torchrun")
BY_HAND = (
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    *("--max-restarts", "1", "--module", "omnimat.cli", *COMMAND[1:]),
)
SETTINGS = (
    "--set=training.num_workers=2",
    "--set=training.num_epochs=10",
    "--set=training.checkpoint_interval_epochs=1",
    f"--set=training.max_failures={NUM_KILLS}",
)


@pytest.fixture(scope="module")
def storage(tmp_path_factory, write_dataset) -> Path:
    folder = tmp_path_factory.mktemp("torchrun-storage")
    settings = IngestSettings(source=Prototypes(num_materials=40, max_atoms=8))
    write_dataset(Workspace(UPath(folder)), "tiny-data", settings)
    return folder


@pytest.fixture(scope="module")
def environment(storage, tmp_path_factory) -> dict[str, str]:
    """An environment in which importing Ray fails."""
    no_ray = tmp_path_factory.mktemp("no-ray")
    (no_ray / "ray.py").write_text("raise ImportError('there is no Ray here')\n")
    path = os.pathsep.join(filter(None, [str(no_ray), os.environ.get("PYTHONPATH")]))
    return clean_environment(OMNIMAT_STORAGE=str(storage), PYTHONPATH=path)


@pytest.fixture(scope="module")
def launch(environment, tiny_jobs_folder, tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    started = []

    def launch(
        *arguments: str, command: tuple[str, ...] = COMMAND
    ) -> tuple[subprocess.Popen, Path]:
        log = logs / f"{len(started)}.log"
        started.append(start([*command, *arguments], environment, log, tiny_jobs_folder))
        return started[-1], log

    yield launch
    for process in started:
        kill(descendants(process.pid))
        process.kill()


@pytest.fixture(scope="module")
def whole(launch, storage) -> list[float]:
    process, log = launch(*SETTINGS)
    assert process.wait(TIMEOUT_S) == 0, log.read_text()
    history = read_history(UPath(storage / "runs" / "tiny"))
    assert history["step"].tolist() == list(range(1, len(history) + 1))
    assert (storage / "runs" / "tiny" / "metrics.parquet").exists()
    return history["loss"].tolist()


def test_the_history_says_where_time_went(whole, storage):
    history = pd.read_parquet(storage / "runs" / "tiny" / "metrics.parquet")
    phases = [f"{phase}_s" for phase in PHASES]
    rates = [f"{stage}_rows_per_s" for stage in (*STAGES, "collate")]
    assert set(history.columns) == {
        *("step", "epoch", "lr", "num_workers", "loss", "loss/dos|text", "samples_per_s", "step_s"),
        *("loss_is_finite", "data_wait_share", "queued_rows", "quarantined_records"),
        *(*phases, *rates),
    }
    assert np.isfinite(history).all(axis=None)
    np.testing.assert_allclose(history[phases].sum(axis=1), history["step_s"])
    np.testing.assert_allclose(8 / history["step_s"], history["samples_per_s"])
    assert (history[["forward_s", "backward_s", "optimizer_s", *rates]] > 0).all(axis=None)
    # Checkpoints are written after steps 4, 8, ...; the next step's report counts their time.
    assert (history.set_index("step")["checkpoint_s"] > 0).tolist() == [
        step % 4 == 1 and step > 1 for step in history["step"]
    ]
    # At most four tables of 4 rows made ahead, and the 20 rows that the next one is cut from.
    assert 10 < history["queued_rows"].max() <= 4 * 4 + 20


def last_step(run: Path) -> int:
    reports = list(read_reports(UPath(run)))
    return int(reports[-1]["step"]) if reports else 0


def workers(agent: subprocess.Popen) -> list[psutil.Process]:
    """Return the worker processes that torchrun has started, without its own helpers."""
    return named(descendants(agent.pid), "omnimat.cli")


def kill_one(
    process: subprocess.Popen, log: Path, run: Path, step: int, generator: random.Random
) -> int:
    """Kill a worker once a step is done, and give the step that was the last by then."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while last_step(run) < step or not workers(process):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline_s, log.read_text()
        time.sleep(0.005)
    killed_at = last_step(run)
    victims = workers(process)
    generator.choice(victims).send_signal(signal.SIGKILL)
    psutil.wait_procs(victims, timeout=60)
    return killed_at


def test_killed_at_random_steps_it_ends_with_the_same_losses(whole, launch, storage):
    generator = random.Random(7)
    steps = sorted(generator.sample(range(2, len(whole) - 4), NUM_KILLS))
    run = storage / "runs" / "killed"
    process, log = launch("--set=name=killed", *SETTINGS)
    killed_at = [kill_one(process, log, run, step, generator) for step in steps]
    assert process.wait(TIMEOUT_S) == 0, log.read_text()
    print(f"killed {len(killed_at)} times, at steps {killed_at} of {len(whole)}")
    # The same batches, weights, moments and random numbers on as many workers, so bit for bit.
    assert read_history(UPath(run))["loss"].tolist() == whole


def test_a_finished_run_says_so_and_a_fresh_one_lies_beside_it(whole, launch, storage):
    process, log = launch(*SETTINGS)
    assert process.wait(TIMEOUT_S) == 0
    assert "tiny: finished" in log.read_text()
    assert str(storage / "runs" / "tiny") in log.read_text()
    process, log = launch(*SETTINGS, "--fresh")
    assert process.wait(TIMEOUT_S) == 0, log.read_text()
    assert read_history(UPath(storage / "runs" / "tiny@2"))["loss"].tolist() == whole
    assert Workspace(UPath(storage)).run("tiny").name == "tiny@2"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--set=dataset=nothing",), "nothing"),
        (("--set=stream.read_from=store",), "featurize job"),
        (("--set=training.lr=1",), "name: run 'tiny'"),
    ],
)
def test_what_is_not_there_is_said(arguments, sentence, whole, launch):
    process, log = launch(*SETTINGS, *arguments)
    assert process.wait(TIMEOUT_S) == 2, log.read_text()
    assert sentence in log.read_text()


def attempts(storage: Path, name: str) -> set[str]:
    return {folder.name for folder in (storage / "runs").glob(f"{name}*")}


def test_torchrun_by_hand_refuses_other_settings(whole, launch, storage):
    reports, folders = list(read_reports(UPath(storage / "runs/tiny"))), attempts(storage, "tiny")
    process, log = launch(*SETTINGS, "--set=training.lr=0.5", command=BY_HAND)
    assert process.wait(TIMEOUT_S) != 0  # torchrun's own code is 1 whatever its workers' is
    text = log.read_text()
    starts = 1 + int(BY_HAND[BY_HAND.index("--max-restarts") + 1])
    assert text.count("omnimat: ") == text.count("made under other settings") == starts
    assert re.search(r"exitcode *: 2 ", text)
    assert text.count("Traceback") == 1  # torchrun's own
    assert list(read_reports(UPath(storage / "runs/tiny"))) == reports
    assert attempts(storage, "tiny") == folders


def test_torchrun_by_hand_finds_a_run_finished(whole, launch, storage):
    reports = list(read_reports(UPath(storage / "runs/tiny")))
    process, log = launch(*SETTINGS, command=BY_HAND)
    assert process.wait(TIMEOUT_S) == 0, log.read_text()
    assert log.read_text().count("tiny: finished, nothing to do") == 1
    assert list(read_reports(UPath(storage / "runs/tiny"))) == reports


def test_torchrun_by_hand_begins_anew_once(whole, launch, storage):
    """In one folder for all workers, in which they go on after one of them was killed."""
    before = attempts(storage, "tiny")
    run = Workspace(UPath(storage)).next_attempt("tiny")
    process, log = launch(*SETTINGS, "--fresh", command=BY_HAND)
    kill_one(process, log, Path(run.path), 7, random.Random(3))
    assert process.wait(TIMEOUT_S) == 0, log.read_text()
    assert attempts(storage, "tiny") == {*before, run.name}
    assert read_history(run)["loss"].tolist() == whole
