"""What a job needs at its end is reached before anything begins, even Ray."""

import os
import subprocess
import sys

import pytest
import yaml
from click.testing import CliRunner
from upath import UPath

from omnimat.base.workspace import RESULT, Workspace
from omnimat.cli.main import main
from omnimat.sources.settings import IngestSettings

EVALUATE = {"kind": "evaluate", "name": "eval", "dataset": "data", "run": "pre"}
UNREACHABLE = "postgresql://user:secret@127.0.0.1:1/db"


@pytest.fixture
def evaluate(tiny_jobs, monkeypatch):
    """Run a job that evaluates, after one that ingests, with some leaderboard."""
    monkeypatch.setenv("OMNIMAT_STORAGE", str(tiny_jobs / "storage"))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")  # no Ray either: that would be the next error
    monkeypatch.chdir(tiny_jobs)

    def evaluate(leaderboard_url, *arguments):
        needs = ["jobs/data.yaml"]
        job = EVALUATE | {"needs": needs, "leaderboard_url": leaderboard_url}
        (tiny_jobs / "eval.yaml").write_text(yaml.safe_dump(job))
        return CliRunner().invoke(main, ["run", "eval.yaml", *arguments])

    return evaluate


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (UNREACHABLE, "cannot be opened"),
        ("sqlite:////proc/omnimat/board.sqlite", "cannot be made"),
        ("sqlite:///{folder}", "unable to open"),
        ("sqlite:///file:{folder}/board.sqlite?mode=ro&uri=true", "cannot be"),
        ("mysql://host/db", "use one of sqlite, postgresql"),
    ],
)
def test_a_leaderboard_out_of_reach_ends_the_job_before_its_first_work(
    url, why, evaluate, tiny_jobs
):
    told = evaluate(url.format(folder=tiny_jobs))
    assert told.exit_code == 2
    (sentence,) = told.stderr.strip().splitlines()
    assert why in sentence
    assert "secret" not in told.output
    assert not (tiny_jobs / "storage").exists()


def test_a_finished_run_needs_no_leaderboard_any_more(evaluate, tiny_jobs):
    run = Workspace(UPath(tiny_jobs / "storage")).run("eval")
    run.mkdir(parents=True)
    (run / RESULT).write_text("{}")
    assert "leaderboard" not in str(evaluate(UNREACHABLE).output)
    assert "leaderboard" in evaluate(UNREACHABLE, "--fresh").output


def test_a_read_only_storage_is_one_sentence(tiny_jobs, write_dataset):
    """A mount of its own, in a namespace of this test alone."""
    storage = tiny_jobs / "storage"
    job = yaml.safe_load((tiny_jobs / "jobs" / "data.yaml").read_text())
    settings = IngestSettings.model_validate(
        {key: value for key, value in job.items() if key not in {"kind", "name"}}
    )
    write_dataset(Workspace(UPath(storage)), "tiny-data", settings)
    read_only = f"mount --bind {storage} {storage} && mount -o remount,ro,bind {storage}"
    train = f"omnimat.cli train {tiny_jobs}/jobs/pretrain.yaml --launcher=torchrun"
    script = f"{read_only} || exit 99; exec {sys.executable} -m {train}"
    command = ["unshare", "--mount", "--map-root-user", "sh", "-c", script]
    environment = os.environ | {"OMNIMAT_STORAGE": str(storage)}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if told.returncode == 99 or "unshare" in told.stderr:
        pytest.skip("no mounts of one's own here")
    (sentence,) = told.stderr.strip().splitlines()
    assert told.returncode == 2
    assert sentence.startswith(f"omnimat: {storage / 'runs'}")
    assert "Read-only file system; name a place that can be written" in sentence
