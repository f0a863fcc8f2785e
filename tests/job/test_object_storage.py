"""Everything on S3, through the jobs: ingest, featurize, pretrain, evaluate, and kills between."""

import json
import threading
import time

import fsspec
import pytest
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.sources.ingest import write_slice
from omnimat.sources.merge import merge
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.testing.flaky_s3 import flaky_s3
from omnimat.testing.ray_head import RayHead, start
from omnimat.training.checkpoint_store import newest_checkpoint
from omnimat.training.history import read_history, read_reports

pytest.importorskip("s3fs")
pytest.importorskip("moto")
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

TIMEOUT_S = 300  # far above what a job takes, for busy machines
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
SHARDS = [f"{shard:05d}" for shard in range(5)]
STEPS = list(range(1, 21))  # four an epoch; checkpoints after 8, 16 and 20


@pytest.fixture(scope="module")
def s3(tmp_path_factory):
    folder = tmp_path_factory.mktemp("s3")
    with flaky_s3(folder) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in (server.environment | {"OMNIMAT_CACHE": str(folder / "cache")}).items():
            patch.setenv(name, value)
        # Clients are remembered by their arguments, and a server's address is none of them.
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        UPath("s3://bucket").mkdir()
        yield server
        type(UPath("s3://bucket").fs).clear_instance_cache()  # its connections end first


@pytest.fixture(scope="module")
def workspace(s3) -> Workspace:
    return Workspace.open(ROOT)


@pytest.fixture(scope="module")
def head(s3, tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    for name, text in JOBS.items():
        (folder / f"{name}.yaml").write_text(text)
    head = RayHead.start(folder, folder, OMNIMAT_STORAGE=ROOT)
    yield head
    head.stop()


@pytest.fixture(scope="module")
def omnimat(head):
    """Run a command to its end and give what it said."""

    def omnimat(*arguments: str, code: int = 0) -> str:
        command = ("omnimat", *arguments)
        done = head.command(*command, folder=head.storage, timeout_s=TIMEOUT_S)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return omnimat


def killed_when(is_time, head, *arguments: str) -> None:
    """Start a command and kill its driver at a time."""
    log = head.storage / "killed.log"
    process = start(["omnimat", *arguments], head.environment, log, head.storage)
    deadline_s = time.monotonic() + TIMEOUT_S
    try:
        while not is_time():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()


def stored_shards(requests) -> list[str]:
    """List the shards of features that were written whole."""
    puts = [r for r in requests if r.method == "PUT" and r.fault is None]
    return [r.path.rpartition("features-")[2][:5] for r in puts if ".arrow" in r.path]


@pytest.fixture(scope="module")
def features(head, omnimat, s3):
    """The featurize job, killed while its third shard was on the way, and run again."""
    is_reached = threading.Event()

    def fail_at_third(method, path):
        if method == "PUT" and "features-00002" in path:
            is_reached.set()
            return "reset"
        return None

    with s3.failing(fail_at_third):
        killed_when(is_reached.is_set, head, "run", "featurize.yaml")
        written = stored_shards(s3.requests)
    assert "00002" not in written
    with s3.failing(lambda *_: None):
        omnimat("run", "featurize.yaml")
        assert stored_shards(s3.requests) == [
            f"{i:05d}" for i in range(5) if f"{i:05d}" not in written
        ]


def losses(workspace: Workspace, name: str) -> list[float]:
    history = read_history(workspace.run(name))
    assert history["step"].tolist() == STEPS
    return history["loss"].tolist()


def test_a_second_featurize_job_says_that_it_is_finished(features, omnimat, s3):
    with s3.failing(lambda *_: None):
        assert "features: finished, nothing to do (s3://bucket/omnimat/" in omnimat(
            "run", "featurize.yaml"
        )
        assert not [request for request in s3.requests if request.method == "PUT"]


def test_a_run_killed_on_s3_goes_on_and_is_evaluated(features, head, omnimat, workspace, tmp_path):
    run = workspace.run("stored")

    def is_past_a_checkpoint() -> bool:
        last = [int(report["step"]) for report in read_reports(run)][-1:]
        return last >= [10] and newest_checkpoint(run) is not None

    killed_when(is_past_a_checkpoint, head, "run", "stored.yaml")
    assert not (run / "result.json").exists()
    said = omnimat("check", "evaluate.yaml", code=2)
    assert "set leaderboard_url" in said
    url = f"sqlite:///{tmp_path}/leaderboard.sqlite"
    omnimat("run", "evaluate.yaml", "--set", f"leaderboard_url={url}")
    assert {row.model for row in LeaderboardStore(url).rows()} == {"stored"}
    taken = [int(report["step"]) for report in read_reports(run)]
    assert taken.count(8) == 1, "it began anew"
    assert sorted(path.name[:9] for path in (run / "checkpoints").iterdir()) == [
        "000000016",
        "000000020",
    ]
    assert json.loads((run / "result.json").read_text())["num_steps"] == len(STEPS)

    # Without Ray and from the shards: the same rows in the same order, so the same losses.
    shards = ("--set=name=shards", "--set=stream.read_from=shards")
    omnimat("train", "stored.yaml", "--launcher=torchrun", *shards)
    assert losses(workspace, "stored") == losses(workspace, "shards")


def test_a_store_of_another_state_of_the_data_is_not_used(features, omnimat, workspace):
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
    said = omnimat("train", "stored.yaml", "--launcher=torchrun", "--set=name=stale", code=2)
    assert "is no complete feature store; run a featurize job of data set 'data'" in said
