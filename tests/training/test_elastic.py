"""Workers come and go, and none of their numbers divides the batch: the losses are those of one."""

from pathlib import Path

import pytest
import torch
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.stream.worker import in_process
from omnimat.testing.distributed import run_workers
from omnimat.testing.interruption import KilledError, killed_after
from omnimat.training.context import WorkerContext
from omnimat.training.history import read_history
from omnimat.training.loop import train_worker
from omnimat.training.plan import RunPlan, make_plan
from omnimat.training.settings import PretrainSettings


def train(plan: RunPlan, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    train_worker(plan, WorkerContext(UPath(folder), torch.device("cpu")), in_process)


def train_beyond_a_checkpoint(plan: RunPlan, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    context = WorkerContext(UPath(folder), torch.device("cpu"))
    with pytest.raises(KilledError):
        train_worker(plan, context, killed_after(plan.steps_per_epoch + 1))


def train_to_the_end(plan: RunPlan, elastic: Path, alone: Path) -> None:
    train(plan, elastic)
    train(plan, alone)


@pytest.fixture(scope="module")
def plan(workspace) -> RunPlan:
    """A run with batch norm in which every micro-batch has six or seven materials."""
    settings = PretrainSettings.model_validate(
        {
            "dataset": "prototypes",
            "modalities": {
                "composition": {"encoder": {"preset": "tiny"}},
                "text": {"featurizer": {"source": "hashed"}, "encoder": {"preset": "tiny"}},
            },
            "embedding_dim": 8,
            "objective": {"type": "clip"},
            "training": {
                "num_workers": 5,
                "min_workers": 1,
                "global_batch_size": 13,
                "num_micro_batches": 2,
                "zero_stage": 1,
                "num_epochs": 3,
                "lr": 1e-2,
                "report_interval_steps": 1,
                "checkpoint_interval_epochs": 1,
            },
        }
    )
    return make_plan("run", settings, workspace)


@pytest.mark.slow
def test_three_workers_then_five_then_one_train_like_one(plan, tmp_path):
    run_workers(train_beyond_a_checkpoint, 3, plan, tmp_path / "elastic")
    run_workers(train_beyond_a_checkpoint, 5, plan, tmp_path / "elastic")
    run_workers(train_to_the_end, 1, plan, tmp_path / "elastic", tmp_path / "alone")
    elastic, alone = (read_history(UPath(tmp_path / name)) for name in ("elastic", "alone"))
    num_workers = [n for n in (3, 5, 1) for _ in range(plan.steps_per_epoch)]
    assert elastic["num_workers"].tolist() == num_workers
    # float32 sums in another order. (In a network with parameters of hardly any gradient, AdamW
    # amplifies rounding a thousand times, even that of one process whose rows are permuted.)
    assert elastic["loss"].tolist() == pytest.approx(alone["loss"].tolist(), rel=1e-5)
    assert alone["loss"].iloc[-1] < 0.9 * alone["loss"].iloc[0]


def test_more_workers_than_the_batch_has_work_for_are_refused(plan, tmp_path, monkeypatch):
    """As many as somebody starts by hand, whatever the job says."""
    monkeypatch.setenv("WORLD_SIZE", "7")
    context = WorkerContext(UPath(tmp_path), torch.device("cpu"))
    with pytest.raises(UserError, match=r"num_workers 7 x num_micro_batches 2.* 14 or more"):
        train_worker(plan, context, in_process)
