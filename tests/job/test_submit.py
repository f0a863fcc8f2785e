"""Job files submitted to a real cluster: `ray job submit jobs/pretrain.yaml` is the program."""

import json
import re
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
from upath import UPath

from omnimat.testing.ray_head import clean_environment, descendants, kill, named, start
from omnimat.testing.waiting import LIMIT_S, wait_for
from omnimat.training.checkpoint import Progress
from omnimat.training.checkpoint_folders import newest_checkpoint
from omnimat.training.history import read_history, read_reports

pytestmark = [pytest.mark.ray, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[2]
# Ray Data keeps these for the life of the cluster, whichever job came first.
OF_THE_CLUSTER = {
    "_StatsActor",
    "ActorLocationTracker",
    "_AutoscalingCoordinatorActor",
    "_UsageCollectionActor",  # of any driver that reads data
}
# Each other process that Ray Train or Ray Data might start takes two seconds for nothing.
STARTED_BY_A_LOCAL_RUN = {
    "OwnController",
    "RayTrainWorker",
    "SynchronizationActor",
    "MapWorker",
    "_AutoscalingCoordinatorActor",
    "_StatsActor",
    "ActorLocationTracker",
    "DashboardAgent",
    "RuntimeEnvAgent",
}
LIST_LIVE = """
import json
from ray.util.state import list_actors, list_placement_groups
actors = list_actors(filters=[("state", "!=", "DEAD")], raise_on_missing_output=False)
groups = list_placement_groups(filters=[("state", "!=", "REMOVED")])
print(json.dumps([[a.class_name for a in actors], [g.placement_group_id for g in groups]]))
"""


def live(head) -> tuple[set[str], set[str]]:
    """Classes of live actors and ids of placement groups on the cluster."""
    listed = head.command(sys.executable, "-c", LIST_LIVE, folder=head.storage)
    assert listed.returncode == 0, listed.stderr
    actors, groups = json.loads(listed.stdout.splitlines()[-1])
    return set(actors) - OF_THE_CLUSTER, set(groups)


def checkpointed_step(run: Path) -> int | None:
    """Step of the newest complete checkpoint."""
    newest = newest_checkpoint(UPath(run))
    return None if newest is None else Progress.read(newest).step


def steps(output: str) -> list[int]:
    return [int(step) for step in re.findall(r"step (\d+)/\d+  loss", output)]


@pytest.fixture(scope="module")
def stopped(ray_head):
    """The shipped job, submitted word for word and stopped after its first checkpoint."""
    run = ray_head.storage / "runs" / "prototypes-anchored"
    submitted = ray_head.command(
        "ray",
        "job",
        "submit",
        "--no-wait",
        "--submission-id=first",
        "jobs/pretrain.yaml",
        folder=Path("/"),
    )
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    wait_for(lambda: checkpointed_step(run))
    stop = ray_head.command("ray", "job", "stop", "first", folder=Path("/"))
    assert "was stopped" in stop.stdout + stop.stderr
    return run


def test_stop_leaves_nothing_behind(ray_head, stopped):
    assert (ray_head.storage / "datasets" / "prototypes" / "manifest.json").exists()
    wait_for(lambda: live(ray_head) == (set(), set()))
    before = list(read_reports(UPath(stopped)))
    assert not (stopped / "result.json").exists()
    assert not (stopped / "export").exists()
    assert not (ray_head.storage / "leaderboard.sqlite").exists()
    time.sleep(1)
    assert list(read_reports(UPath(stopped))) == before


def test_submitted_again_it_goes_on_and_then_is_finished(ray_head, stopped, run_here):
    shards = {p: p.stat().st_mtime_ns for p in (ray_head.storage / "datasets").rglob("*")}
    checkpoint = checkpointed_step(stopped)
    command = ("ray", "job", "submit", "jobs/pretrain.yaml")
    again = ray_head.command(*command, folder=Path("/"))
    assert again.returncode == 0, again.stdout + again.stderr
    taken = steps(again.stdout)
    result = json.loads((stopped / "result.json").read_text())
    # It reports every ten steps, from the checkpoint on, and prints each report once.
    assert taken == list(range(checkpoint + 10, result["num_steps"] + 1, 10))
    history = read_history(UPath(stopped))
    assert history["step"].tolist() == list(range(10, result["num_steps"] + 1, 10))
    assert result["last_loss"] < result["first_loss"]
    assert {p: p.stat().st_mtime_ns for p in (ray_head.storage / "datasets").rglob("*")} == shards

    reports = list(read_reports(UPath(stopped)))
    code, said = run_here(REPOSITORY, "run", "jobs/pretrain.yaml")
    assert code == 0, said
    assert "prototypes-anchored: finished, nothing to do" in said
    assert list(read_reports(UPath(stopped))) == reports


def test_job_that_never_fits_fails_at_once(ray_head, tiny_jobs):
    submit = ("ray", "job", "submit", "--working-dir", str(tiny_jobs), "--", "jobs/pretrain.yaml")
    too_large = ("--set", "training.num_workers=8", "--set", "name=large")
    failed = ray_head.command(*submit, *too_large, folder=Path("/"))
    assert failed.returncode != 0
    said = failed.stdout + failed.stderr
    assert "failed with exit code 2" in said
    assert "omnimat: large: training.num_workers and their featurizers ask" in said
    assert "Traceback" not in said


def started(family: list[psutil.Process]) -> list[str]:
    """Give the classes of the actors, and the agents, that have a process, as ``ps`` shows them."""
    titles = (" ".join(process.cmdline()) for process in named(family, "ray::"))
    found = (re.match(r"ray::(?:\w+:)?(\w+)", title) for title in titles)
    return sorted(one[1] for one in found if one is not None and one[1] != "IDLE")


def test_interrupted_local_run_leaves_no_process_and_no_result(tiny_jobs, tmp_path):
    run, log = tmp_path / "storage" / "runs" / "tiny", tmp_path / "log"
    environment = clean_environment(OMNIMAT_STORAGE=str(tmp_path / "storage"))
    command = ["omnimat", "run", "jobs/pretrain.yaml", "--set", "training.num_epochs=1000"]
    process = start(command, environment, log, tiny_jobs)
    family: list[psutil.Process] = []
    try:
        wait_for(lambda: checkpointed_step(run) or process.poll() is not None)
        family = descendants(process.pid)
        assert any(p.name() == "raylet" for p in family), log.read_text()
        assert started(family) == sorted(STARTED_BY_A_LOCAL_RUN)
        for of_a_cluster in ("/dashboard.py", "/monitor.py"):
            assert not named(family, of_a_cluster)
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) != 0
        _, left = psutil.wait_procs(family, timeout=LIMIT_S)
        assert left == [], log.read_text()
    finally:
        process.kill()
        process.wait()
        kill(family)
    assert not (run / "result.json").exists()
