"""Everything on S3, through the jobs: ingest, featurize, pretrain, evaluate, and kills between."""

import json
import os
import re
import subprocess
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.cli.main import main
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.sources.ingest import write_slice
from omnimat.sources.merge import merge
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.testing.ray_head import start
from omnimat.testing.waiting import LIMIT_S, wait_for
from omnimat.training.checkpoint_folders import newest_checkpoint
from omnimat.training.history import read_history, read_reports

pytestmark = [pytest.mark.ray, pytest.mark.soak]  # two minutes

ROOT = "s3://bucket/omnimat"
MODALITIES = """\
modalities:
  dos: {encoder: {preset: tiny}}
  text: {featurizer: {source: hashed}, encoder: {preset: tiny}}
"""
PRETRAIN = f"""\
kind: pretrain
dataset: data
{MODALITIES}
embedding_dim: 8
objective: {{type: clip}}
training:
  global_batch_size: 8
  num_epochs: 5
  lr: 1.0e-3
  report_interval_steps: 1
  checkpoint_interval_epochs: 2
"""
JOBS = {
    "data": """\
kind: ingest
name: data
source: {type: prototypes, num_materials: 40, max_atoms: 8}
records_per_shard: 8
num_cpus_per_task: 0.5
""",
    "featurize": f"""\
kind: featurize
name: features
needs: [data.yaml]
dataset: data
{MODALITIES}
featurizer_num_cpus: 0.5
""",
    "stored": f"name: stored\nneeds: [featurize.yaml]\nstream: {{read_from: store}}\n{PRETRAIN}",
    "evaluate": """\
kind: evaluate
name: retrieval
needs: [stored.yaml]
dataset: data
run: stored
featurizer_num_cpus: 0.5
""",
}
REPORT = re.compile(r"/features-\d{5}\.json")
SHARDS = [f"{shard:05d}" for shard in range(5)]
STEPS = list(range(1, 21))  # four an epoch; checkpoints after 8, 16 and 20


@pytest.fixture(scope="module")
def workspace(s3) -> Workspace:
    return Workspace.open(ROOT)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("jobs")
    for name, text in JOBS.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def environment(ray_head, s3) -> dict[str, str]:
    """An environment of commands on the head whose jobs find the S3, as if submitted with it."""
    of_s3 = s3.environment | {"OMNIMAT_CACHE": os.environ["OMNIMAT_CACHE"]}
    job = {"runtime_env": {"env_vars": of_s3}}
    of_job = {"OMNIMAT_STORAGE": ROOT, "RAY_JOB_CONFIG_JSON_ENV_VAR": json.dumps(job)}
    return {**ray_head.environment, **of_s3, **of_job}


@pytest.fixture(scope="module")
def omnimat(environment, folder):
    """Run a command to its end and give what it said."""

    def omnimat(*arguments: str) -> str:
        done = subprocess.run(
            ("omnimat", *arguments),
            env=environment,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return omnimat


@pytest.fixture
def refused(folder, monkeypatch):
    """Run a command in this process, which is refused, and give what it said."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OMNIMAT_STORAGE", ROOT)
    monkeypatch.setattr(
        "omnimat.job.train.start_workers", lambda *_: pytest.fail("it becomes torchrun")
    )

    def refused(*arguments: str) -> str:
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 2, done.output
        return done.output

    return refused


@pytest.fixture(scope="module")
def killed_when(environment, folder):
    """Start a command and kill its driver at a time."""

    def killed_when(is_time, *arguments: str) -> None:
        log = folder / "killed.log"
        process = start(["omnimat", *arguments], environment, log, folder)
        try:
            wait_for(is_time, process, log)
        finally:
            process.kill()
            process.wait()

    return killed_when


def stored_shards(requests) -> list[str]:
    """List the shards of features that were written whole, with the report that says so."""
    puts = [r for r in requests if r.method == "PUT" and r.fault is None]
    return [r.path.rpartition("features-")[2][:5] for r in puts if REPORT.search(r.path)]


@pytest.fixture(scope="module")
def written(killed_when, s3) -> list[str]:
    """Shards that a featurize job wrote, killed while its third was on the way."""
    is_reached = threading.Event()

    def fail_at_third(method, path):
        if method == "PUT" and "features-00002" in path:
            is_reached.set()
            return "reset"
        return None

    with s3.failing(fail_at_third):
        killed_when(is_reached.is_set, "run", "featurize.yaml")
        return stored_shards(s3.requests)


def losses(workspace: Workspace, name: str) -> list[float]:
    history = read_history(workspace.run(name))
    assert history["step"].tolist() == STEPS
    return history["loss"].tolist()


@pytest.fixture(scope="module")
def killed_run(written, killed_when, workspace, s3) -> UPath:
    """A run that first had the rest featurized, and was killed past a checkpoint."""
    run = workspace.run("stored")

    def is_past_a_checkpoint() -> bool:
        last = [int(report["step"]) for report in read_reports(run)][-1:]
        return last >= [10] and newest_checkpoint(run) is not None

    assert "00002" not in written
    # A worker outlives its driver for a moment, in which it may write its shard after all.
    stores = (workspace.root / "features").glob("*/features-*.json")
    there = {file.name.rpartition("features-")[2][:5] for file in stores}
    assert there >= set(written)
    with s3.failing(lambda *_: None):
        killed_when(is_past_a_checkpoint, "run", "stored.yaml")
        assert stored_shards(s3.requests) == [one for one in SHARDS if one not in there]
    assert not (run / "result.json").exists()
    return run


def test_a_run_killed_on_s3_goes_on_and_is_evaluated(
    killed_run, omnimat, refused, workspace, s3, tmp_path
):
    assert "set leaderboard_url" in refused("check", "evaluate.yaml")
    url = f"sqlite:///{tmp_path}/leaderboard.sqlite"
    with s3.failing(lambda *_: None):
        said = omnimat("run", "evaluate.yaml", "--set", f"leaderboard_url={url}")
        assert "features: finished, nothing to do (s3://bucket/omnimat/" in said
        assert stored_shards(s3.requests) == []
    assert {row.model for row in LeaderboardStore(url).rows()} == {"stored"}
    taken = [int(report["step"]) for report in read_reports(killed_run)]
    assert taken.count(8) == 1, "it began anew"
    assert sorted(path.name[:9] for path in (killed_run / "checkpoints").iterdir()) == [
        "000000016",
        "000000020",
    ]
    assert json.loads((killed_run / "result.json").read_text())["num_steps"] == len(STEPS)

    # Without Ray and from the shards: the same rows in the same order, so the same losses.
    shards = ("--set=name=shards", "--set=stream.read_from=shards")
    omnimat("train", "stored.yaml", "--launcher=torchrun", *shards)
    assert losses(workspace, "stored") == losses(workspace, "shards")


def test_a_store_of_another_state_of_the_data_is_not_used(killed_run, refused, workspace):
    folder = workspace.dataset("data")
    folder.fs.rm(folder.path, recursive=True)
    settings = IngestSettings(source=Prototypes(num_materials=41, max_atoms=8))
    merge(
        name="data",
        source={},
        settings_fingerprint=settings.fingerprint(),
        reports=[write_slice(settings, folder, 0, ())],
        destination=folder,
    )
    said = refused("train", "stored.yaml", "--launcher=torchrun", "--set=name=stale")
    assert "is no complete feature store; run a featurize job of data set 'data'" in said
