"""A process whose run was taken over writes nothing any more."""

import json

import pytest
import torch
from torch.distributed.elastic.rendezvous import RendezvousParameters
from upath import UPath

from omnimat.base.lease import Fence, Lease, LostError
from omnimat.base.lease_files import FOLDER
from omnimat.stream.worker import in_process
from omnimat.testing.distributed import run_workers
from omnimat.training.checkpoint_folders import newest_checkpoint
from omnimat.training.context import WorkerContext
from omnimat.training.history import read_reports
from omnimat.training.loop import train_worker
from omnimat.training.plan import make_plan
from omnimat.training.rendezvous import BACKEND, OneMachine
from omnimat.training.result import finish

LAST_STEP = 3


def files(run) -> set[str]:
    found = (path.relative_to(run) for path in run.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if path.parts[0] != FOLDER}


@pytest.fixture
def lost(tmp_path) -> Fence:
    """What is left to the first of two that held a run."""
    run = UPath(tmp_path / "run")
    with Lease.acquire(run, "run") as first:
        pass
    with Lease.acquire(run, "run"):
        return first.fence


def test_nothing_is_added_to_the_history(lost, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    context = WorkerContext(lost.folder, torch.device("cpu"), check_held=lost.check)
    with pytest.raises(LostError, match=f"{lost.folder} was taken over by "):
        context.report({"step": 1.0})
    assert files(lost.folder) == set()


def test_no_result_is_written(lost, workspace, new_settings):
    with pytest.raises(LostError):
        finish(make_plan("run", new_settings(), workspace), lost, 1.0)
    assert files(lost.folder) == set()


def test_no_worker_begins_to_train(lost, workspace, new_settings):
    context = WorkerContext(lost.folder, torch.device("cpu"), check_held=lost.check)
    with pytest.raises(LostError):
        train_worker(make_plan("run", new_settings(), workspace), context, in_process)


def test_no_worker_is_started_again(lost):
    meeting_point = OneMachine(
        RendezvousParameters(BACKEND, "", "run", 1, 1, check_held=lost.check)
    )
    with pytest.raises(LostError):
        meeting_point.next_rendezvous()


def train(plan, folder) -> str:
    """Train until another process takes the run over, and give what is said then."""
    lease = Lease.acquire(UPath(folder), "run")

    def taken_over(source, units, num_rows):
        for step, table in enumerate(in_process(source, units, num_rows)):
            if step == LAST_STEP:
                take(lease)
            yield table

    context = WorkerContext(lease.folder, torch.device("cpu"), check_held=lease.fence.check)
    try:
        train_worker(plan, context, taken_over)
    except LostError as error:
        return str(error)
    return ""


def take(lease: Lease) -> None:
    """Take a run over as one does that has seen no sign of its holder."""
    first, second = (lease.folder / FOLDER / f"00000{i}.json" for i in (1, 2))
    second.write_text(json.dumps(json.loads(first.read_text()) | {"host": "the-other"}))


def test_a_worker_ends_at_its_next_report(workspace, new_settings, tmp_path):
    run = UPath(tmp_path / "run")
    plan = make_plan("run", new_settings(), workspace)
    (said,) = run_workers(train, 1, plan, tmp_path / "run")
    assert " on the-other (process " in said
    # The batch that brings the loss is made beside the step before it, which may report or not.
    steps = [report["step"] for report in read_reports(run)]
    assert steps in ([*range(1, LAST_STEP)], [*range(1, LAST_STEP + 1)])
    newest = newest_checkpoint(run)  # that of the last step may have been under way
    assert newest is None or newest.name.startswith(f"{LAST_STEP:09d}-")
