"""The same loop under torchrun: without Ray, through kills, and begun anew."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from click.testing import CliRunner
from upath import UPath

from omnimat.base.errors import RunError
from omnimat.base.lease import Lease
from omnimat.base.workspace import Workspace
from omnimat.cli.main import main
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.stream.timing import STAGES
from omnimat.testing.poison import OLD_NAMES, listed, poison, put
from omnimat.testing.ray_head import clean_environment, descendants, kill, named, start
from omnimat.testing.waiting import LIMIT_S, wait_for
from omnimat.training.history import read_history, read_reports
from omnimat.training.meter import PHASES
from omnimat.training.plan import make_plan
from omnimat.training.torchrun_launcher import start_workers

pytestmark = pytest.mark.slow

NUM_KILLS = 5
NUM_STEPS = 40
KILLED_AT = {
    "one kill": [7],
    "kills at random": sorted(random.Random(7).sample(range(2, NUM_STEPS - 4), NUM_KILLS)),
}
TRAIN = ("train", "jobs/pretrain.yaml", "--launcher=torchrun")
BY_HAND = (
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
    *("--max-restarts", "1", "--module", "omnimat.cli"),
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
    """One in which importing Ray fails."""
    no_ray = tmp_path_factory.mktemp("no-ray")
    (no_ray / "ray.py").write_text("raise ImportError('there is no Ray here')\n")
    path = os.pathsep.join(filter(None, [str(no_ray), os.environ.get("PYTHONPATH")]))
    return clean_environment(OMNIMAT_STORAGE=str(storage), PYTHONPATH=path)


@pytest.fixture(scope="module")
def launch(environment, tiny_jobs_folder, tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    started = []

    def launch(
        *arguments: str, launcher: tuple[str, ...] = ("omnimat",)
    ) -> tuple[subprocess.Popen, Path]:
        log = logs / f"{len(started)}.log"
        command = [*launcher, *TRAIN, *arguments]
        started.append(start(command, environment, log, tiny_jobs_folder))
        return started[-1], log

    yield launch
    for process in started:
        kill(descendants(process.pid))
        process.kill()


@pytest.fixture(scope="module")
def whole(launch, storage) -> list[float]:
    process, log = launch(*SETTINGS)
    assert process.wait(LIMIT_S) == 0, log.read_text()
    history = read_history(UPath(storage / "runs" / "tiny"))
    assert history["step"].tolist() == list(range(1, NUM_STEPS + 1))
    assert (storage / "runs" / "tiny" / "metrics.parquet").exists()
    return history["loss"].tolist()


def test_the_environment_is_as_before_once_its_workers_have_ended(storage, new_settings):
    workspace = Workspace(UPath(storage))
    settings = new_settings(num_workers=1, max_failures=0)
    plan = make_plan("failing", settings.model_copy(update={"dataset": "tiny-data"}), workspace)
    before = dict(os.environ)
    with (
        Lease.acquire(workspace.run("failing"), "failing") as lease,
        pytest.raises(RunError, match="worker 0 ended with exit code 2"),
    ):
        start_workers(plan, lease.fence, ["no-such-command"], [])
    assert dict(os.environ) == before


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
    # After steps 4, 8, ... a checkpoint is written; the report after the next step has its time.
    assert (history.set_index("step")["checkpoint_s"] > 0).tolist() == [
        step % 4 == 1 and step > 1 for step in history["step"]
    ]
    # At most four tables of 4 rows made ahead, and the epoch's 20 that the next is cut from.
    assert 10 < history["queued_rows"].max() <= 4 * 4 + 20


def last_step(run: Path) -> int:
    reports = list(read_reports(UPath(run)))
    return int(reports[-1]["step"]) if reports else 0


def workers(agent: subprocess.Popen) -> list[psutil.Process]:
    """Give the processes that torchrun has started, its own helpers left out."""
    return named(descendants(agent.pid), "omnimat.cli")


def kill_one(process: subprocess.Popen, log: Path, run: Path, step: int) -> int:
    """Kill a worker once a step is done, and give the step that was the last by then."""
    wait_for(lambda: last_step(run) >= step and workers(process), process, log, poll_s=0.005)
    killed_at = last_step(run)
    victims = workers(process)
    random.Random(step).choice(victims).send_signal(signal.SIGKILL)
    psutil.wait_procs(victims, timeout=60)
    return killed_at


@pytest.mark.parametrize(
    "kills", ["one kill", pytest.param("kills at random", marks=pytest.mark.soak)]
)
def test_killed_and_begun_anew_it_ends_with_the_same_losses(kills, whole, launch, storage):
    run = Path(Workspace(UPath(storage)).next_attempt("tiny").path)
    assert run.name.startswith("tiny@")
    process, log = launch(*SETTINGS, "--fresh")
    killed_at = [kill_one(process, log, run, step) for step in KILLED_AT[kills]]
    assert process.wait(LIMIT_S) == 0, log.read_text()
    print(f"killed {len(killed_at)} times, at steps {killed_at} of {NUM_STEPS}")
    assert Workspace(UPath(storage)).run("tiny").name == run.name
    # Bit for bit: the same batches, weights, moments and random numbers on as many workers.
    assert read_history(UPath(run))["loss"].tolist() == whole


def test_a_poisoned_checkpoint_is_named_and_not_executed(whole, launch, storage):
    """One worker goes on from the checkpoint before, which two have written."""
    run = storage / "runs" / "poisoned"
    shutil.copytree(storage / "runs" / "tiny", run)
    (run / "result.json").unlink()
    *_, before, newest = sorted((run / "checkpoints").iterdir())
    data = poison(run / "executed")
    put(newest, [*listed(newest), *OLD_NAMES], data)
    put(before, OLD_NAMES, data)
    process, log = launch(
        *SETTINGS,
        *("--set=name=poisoned", "--set=training.num_workers=1", "--set=training.max_failures=0"),
    )
    assert process.wait(LIMIT_S) == 0, log.read_text()
    assert not (run / "executed").exists()
    assert re.search(rf"omnimat: {newest}/\S+ is damaged.*the checkpoint before", log.read_text())
    taken = [int(report["step"]) for report in read_reports(UPath(run))]
    assert taken[NUM_STEPS:] == list(range(int(before.name[:9]) + 1, NUM_STEPS + 1))
    # The same state, but float32 sums of one worker and not of two.
    assert read_history(UPath(run))["loss"].tolist() == pytest.approx(whole, rel=1e-4)


@pytest.fixture
def answer(storage, tiny_jobs_folder, monkeypatch):
    """Ask in this process for what starts no worker; give the exit code and what is said."""
    monkeypatch.chdir(tiny_jobs_folder)
    monkeypatch.setenv("OMNIMAT_STORAGE", str(storage))
    monkeypatch.setattr(
        "omnimat.job.train.start_workers", lambda *_: pytest.fail("it becomes torchrun")
    )

    def answer(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(main, [*TRAIN, *SETTINGS, *arguments])
        return result.exit_code, result.output

    return answer


def test_a_finished_run_says_so(whole, answer, storage):
    code, said = answer()
    assert code == 0
    newest = Workspace(UPath(storage)).run("tiny")
    assert f"tiny: finished, nothing to do ({newest})" in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--set=dataset=nothing",), "nothing"),
        (("--set=stream.read_from=store",), "run a featurize job of data set 'tiny-data'"),
        (("--set=training.lr=1",), "made under other settings"),
    ],
)
def test_what_is_not_there_is_said(arguments, sentence, whole, answer):
    code, said = answer(*arguments)
    assert code == 2, said
    assert sentence in said


@pytest.fixture
def stale_after(environment, monkeypatch):
    """Set for how long a driver may give no sign."""

    def stale_after(seconds: float) -> None:
        monkeypatch.setitem(environment, "OMNIMAT_LEASE_STALE_AFTER_S", str(seconds))
        monkeypatch.setenv("OMNIMAT_LEASE_STALE_AFTER_S", str(seconds))

    return stale_after


def whole_tree(driver: subprocess.Popen) -> list[psutil.Process]:
    return [psutil.Process(driver.pid), *descendants(driver.pid)]


def test_a_killed_driver_takes_its_workers_with_it_and_is_followed_at_once(
    whole, launch, answer, storage, stale_after, environment, tmp_path, monkeypatch
):
    """Meanwhile nobody listens beyond this machine, shows a password, or begins a second time."""
    stale_after(24)  # a sign of life every two seconds
    monkeypatch.setitem(environment, "TMPDIR", str(tmp_path))
    secret = "--set=leaderboard_url=postgresql://user:hunter2@localhost/board"
    run = Path(Workspace(UPath(storage)).next_attempt("tiny").path)
    driver, log = launch(*SETTINGS, "--fresh", secret)
    wait_for(lambda: last_step(run) >= 7, driver, log, poll_s=0.005)
    tree = whole_tree(driver)
    assert len(workers(driver)) == 2
    listening = [c.laddr.ip for p in tree for c in p.net_connections() if c.status == "LISTEN"]
    assert listening
    assert set(listening) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    assert not [one for p in tree[1:] for one in p.cmdline() if "hunter2" in one]
    for worker in workers(driver):
        worker.suspend()
    code, said = answer()
    assert code == 2, said
    assert f"(process {driver.pid})" in said
    for worker in workers(driver):
        worker.resume()

    driver.kill()
    driver.wait()
    psutil.wait_procs(tree, timeout=LIMIT_S)
    taken = len(list(read_reports(UPath(run))))
    assert taken < NUM_STEPS
    left = set(tmp_path.iterdir())
    assert [path.name.split("-")[:2] for path in left] == [["omnimat", "torchrun"]]
    driver, log = launch(*SETTINGS)
    assert driver.wait(LIMIT_S) == 0, log.read_text()
    assert re.search(r"run tiny: taken over from .*, which has ended", log.read_text())
    assert set(tmp_path.iterdir()) == set()
    assert read_history(UPath(run))["loss"].tolist() == whole
    written = [path for path in run.rglob("*.json*") if "hunter2" in path.read_text()]
    assert written == []


@pytest.mark.soak
def test_a_driver_that_was_stopped_for_long_has_lost_its_run(whole, launch, storage, stale_after):
    stale_after(5)
    run = Path(Workspace(UPath(storage)).next_attempt("tiny").path)
    first, first_log = launch(*SETTINGS, "--fresh")
    wait_for(lambda: last_step(run) >= 7, first, first_log, poll_s=0.005)
    tree = whole_tree(first)
    for process in tree:
        process.suspend()
    second, log = launch(*SETTINGS)
    wait_for(lambda: "which gives no sign" in log.read_text(), second, log)
    for process in tree:
        process.resume()
    assert first.wait(LIMIT_S) == 1, first_log.read_text()
    assert f"{run} was taken over by " in first_log.read_text()
    assert second.wait(LIMIT_S) == 0, log.read_text()
    assert read_history(UPath(run))["loss"].tolist() == whole
    assert len(list((run / "metrics").iterdir())) == 2, "the first began a third part"


def attempts(storage: Path, name: str) -> set[str]:
    return {folder.name for folder in (storage / "runs").glob(f"{name}*")}


def test_torchrun_by_hand_refuses_other_settings(whole, launch, storage):
    newest = Workspace(UPath(storage)).run("tiny")
    reports, folders = list(read_reports(newest)), attempts(storage, "tiny")
    process, log = launch(*SETTINGS, "--set=training.lr=0.5", launcher=BY_HAND)
    assert process.wait(LIMIT_S) != 0  # torchrun's own code is 1 whatever its workers' is
    text = log.read_text()
    starts = 1 + int(BY_HAND[BY_HAND.index("--max-restarts") + 1])
    assert text.count("omnimat: ") == text.count("made under other settings") == starts
    assert re.search(r"exitcode *: 2 ", text)
    assert text.count("Traceback") == 1  # torchrun's own
    assert list(read_reports(newest)) == reports
    assert attempts(storage, "tiny") == folders


def test_torchrun_by_hand_finds_a_run_finished(whole, launch, storage):
    newest = Workspace(UPath(storage)).run("tiny")
    reports = list(read_reports(newest))
    process, log = launch(*SETTINGS, launcher=BY_HAND)
    assert process.wait(LIMIT_S) == 0, log.read_text()
    assert log.read_text().count("tiny: finished, nothing to do") == 1
    assert list(read_reports(newest)) == reports


@pytest.mark.soak
def test_torchrun_by_hand_begins_anew_once(whole, launch, storage):
    """In one folder for all workers, in which they go on after one of them was killed."""
    before = attempts(storage, "tiny")
    run = Workspace(UPath(storage)).next_attempt("tiny")
    process, log = launch(*SETTINGS, "--fresh", launcher=BY_HAND)
    kill_one(process, log, Path(run.path), 7)
    assert process.wait(LIMIT_S) == 0, log.read_text()
    assert attempts(storage, "tiny") == {*before, run.name}
    assert read_history(run)["loss"].tolist() == whole
