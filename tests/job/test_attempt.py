"""Which job may go on with what another has begun under its name, and that only one does."""

import json
import os
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.lease import Lease, LostError
from omnimat.base.lease_files import FOLDER
from omnimat.base.settings import Settings
from omnimat.base.workspace import RESULT, Workspace
from omnimat.cli.main import main
from omnimat.job.attempt import open_run
from omnimat.job.load import load

GRID = ("learning_rates=[1e-3]", "seeds=[0, 1, 2, 3]", "grid={weight_decay: [0, 0.1]}")


@pytest.fixture
def open_sweep(finetune, tmp_path):
    """Open the folder of jobs/finetune.yaml under other values."""
    workspace = Workspace(UPath(tmp_path / "storage"))

    def opened(*overrides: str) -> UPath | None:
        settings = load(finetune, overrides).settings
        lease = open_run("sweep", settings, workspace, fresh=False)
        if lease is None:
            return None
        lease.release()
        return lease.folder

    return opened


def test_a_sweep_that_has_not_ended_goes_on_with_another_grid(open_sweep):
    run = open_sweep()
    assert open_sweep(*GRID) == run
    assert open_sweep("trial.num_threads=4", "cpus_per_trial=4") == run
    for other in ("trial.num_epochs=3", "modalities=[dos]", "asha={grace_epochs: 2}"):
        with pytest.raises(UserError, match="was made under other settings"):
            open_sweep(other)


def finish(run: UPath, settings: Settings) -> None:
    (run / RESULT).write_text(f'{{"config_hash": "{settings.fingerprint()}"}}')


def test_one_that_has_ended_goes_on_only_with_another_grid(open_sweep, finetune):
    run = open_sweep()
    finish(run, load(finetune).settings)
    assert open_sweep() is None
    assert open_sweep("trial.num_threads=4") is None
    with pytest.raises(UserError, match="was made under other settings"):
        open_sweep("trial.num_epochs=3")
    assert open_sweep(*GRID) == run
    finish(run, load(finetune, GRID).settings)
    assert open_sweep(*GRID) is None


def test_a_pretraining_that_has_ended_is_what_it_is(storage, finetune):
    job = load(finetune.parent / "pretrain.yaml")
    with job.attempt(fresh=False) as lease:
        finish(lease.folder, job.settings)
    assert job.attempt(fresh=False) is None
    other = load(finetune.parent / "pretrain.yaml", ["training.num_epochs=7"])
    with pytest.raises(UserError, match="was made under other settings"):
        other.attempt(fresh=False)


JOBS = ("data.yaml", "tokens.yaml", "pretrain.yaml", "finetune.yaml", "evaluate.yaml")
TOKENS = "{kind: tokenizer, name: tokens, dataset: tiny-data}"
EVALUATE = "{kind: evaluate, name: scores, dataset: tiny-data, run: tiny}"
NAMES = {
    "data.yaml": "datasets/tiny-data",
    "tokens.yaml": "tokenizers/tokens",
    "pretrain.yaml": "runs/tiny",
    "finetune.yaml": "runs/sweep",
    "evaluate.yaml": "runs/scores",
}


@pytest.fixture
def storage(tmp_path, monkeypatch):
    """Where jobs of this process would write, if it could start a Ray."""
    monkeypatch.setenv("OMNIMAT_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("OMNIMAT_LEASE_STALE_AFTER_S", "0.6")
    monkeypatch.setattr("omnimat.cluster.session.session", lambda _: pytest.fail("it asks for Ray"))
    return UPath(tmp_path / "storage")


@pytest.fixture
def jobs(finetune):
    (finetune.parent / "tokens.yaml").write_text(TOKENS)
    (finetune.parent / "evaluate.yaml").write_text(EVALUATE)
    return finetune.parent


def run(*arguments) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    return done.exit_code, done.output


@pytest.mark.parametrize("job", JOBS)
def test_a_second_submission_is_told_who_is_at_it_before_it_asks_for_a_cluster(job, storage, jobs):
    held = storage / NAMES[job]
    with Lease.acquire(held, "the first"):
        code, said = run("run", jobs / job, "--set=needs=[]")
        assert code == 2, said
        assert said.count("\n") == 1
        assert f"(process {os.getpid()})" in said
        assert str(held) in said
    assert [path.name for path in (held / FOLDER).iterdir()] == ["000001.json"]


def test_what_a_job_needs_is_not_begun_by_two_either(storage, jobs):
    with Lease.acquire(storage / "datasets" / "tiny-data", "the first"):
        code, said = run("run", jobs / "pretrain.yaml")
        assert code == 2, said
        assert "ingest tiny-data is being worked on by " in said


def test_begun_anew_it_shuts_out_the_one_before(storage, finetune):
    """One that lives is left alone; one that gives no sign any more has lost its run."""
    settings, workspace = load(finetune).settings, Workspace(storage)
    with open_run("sweep", settings, workspace, fresh=False) as first:
        with pytest.raises(UserError, match="is being worked on by"):
            open_run("sweep", settings, workspace, fresh=True)
        file = first.folder / FOLDER / "000001.json"
        said = json.loads(file.read_text())
    file.write_text(json.dumps(said | {"machine": "of somebody", "released": False}))
    second = open_run("sweep", settings, workspace, fresh=True)
    assert second.folder.name == "sweep@2"
    with pytest.raises(LostError):
        first.check()
    with pytest.raises(UserError, match="is being worked on by"):
        open_run("sweep", settings, workspace, fresh=True)
    second.release()


def test_one_that_finished_while_another_waited_is_finished(storage, finetune):
    """Its driver was stopped, came back in time and finished."""
    settings, workspace = load(finetune).settings, Workspace(storage)
    folder = workspace.run("sweep")
    program = (
        "import sys; from upath import UPath; from omnimat.base.lease import Lease\n"
        "with Lease.acquire(UPath(sys.argv[1]), 'sweep'): print('held', flush=True); input()"
    )
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"held\n"
        first.send_signal(signal.SIGSTOP)
        (folder / RESULT).write_text(f'{{"config_hash": "{settings.fingerprint()}"}}')
        assert open_run("sweep", settings, workspace, fresh=False) is None
        first.kill()


@pytest.mark.parametrize("job", JOBS)
def test_a_password_stays_out_of_all_files(job, storage, jobs):
    """Neither the claim, nor the lease, nor what is said of a job that is held has it."""
    secret = "--set=leaderboard_url=postgresql://user:hunter2@localhost/board"
    with Lease.acquire(storage / NAMES[job], "the first"):
        code, said = run("run", jobs / job, "--set=needs=[]", secret)
        assert code == 2
        assert "hunter2" not in said
    if job.endswith(("pretrain.yaml", "finetune.yaml", "evaluate.yaml")):
        started = load(jobs / job, [secret.removeprefix("--set=")])
        started.attempt(fresh=False).release()
        assert (storage / NAMES[job] / "job.json").exists()
    for path in storage.rglob("*"):
        assert path.is_dir() or "hunter2" not in path.read_text()
