"""A step of several micro-batches trains like a whole one at every ZeRO stage of DeepSpeed.

Neither the workers' shares nor their micro-batches are equally large.
"""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from upath import UPath

from omnimat.stream.worker import in_process
from omnimat.testing.distributed import run_workers
from omnimat.training.context import WorkerContext
from omnimat.training.history import read_history
from omnimat.training.loop import train_worker
from omnimat.training.plan import make_plan
from omnimat.training.settings import PretrainSettings

CASES = [(zero_stage, num) for zero_stage in (0, 1, 2, 3) for num in (2, 3)]


def settings_of(world_size: int, zero_stage: int, num_micro_batches: int) -> PretrainSettings:
    """Return the settings of a run with two encoders, both without batch norm."""
    return PretrainSettings.model_validate(
        {
            "dataset": "prototypes",
            "modalities": {
                "structure": {
                    "featurizer": {"neighbors": "within_cutoff", "cutoff_angstrom": 5.0},
                    "encoder": {"type": "painn", "preset": "tiny"},
                },
                "text": {"featurizer": {"source": "hashed"}, "encoder": {"preset": "tiny"}},
            },
            "embedding_dim": 8,
            "objective": {"type": "clip"},
            "training": {
                "num_workers": world_size,
                "zero_stage": zero_stage,
                "num_micro_batches": num_micro_batches,
                "global_batch_size": 15,
                "num_epochs": 6,
                "lr": 1e-2,
                "report_interval_steps": 1,
                "checkpoint_interval_epochs": 6,
            },
        }
    )


def train(workspace, folder: Path, world_size: int, cases: list[tuple[int, int]]) -> None:
    for zero_stage, num_micro_batches in cases:
        plan = make_plan("run", settings_of(world_size, zero_stage, num_micro_batches), workspace)
        target = folder / f"{zero_stage}-{num_micro_batches}"
        target.mkdir(exist_ok=True)
        train_worker(plan, WorkerContext(UPath(target), torch.device("cpu")), in_process)


def losses(folder: Path, zero_stage: int, num_micro_batches: int) -> list[float]:
    run = UPath(folder / f"{zero_stage}-{num_micro_batches}")
    return read_history(run)["loss"].tolist()


@pytest.fixture(scope="module")
def whole(workspace, tmp_path_factory) -> list[float]:
    folder = tmp_path_factory.mktemp("whole")
    run_workers(train, 1, workspace, folder, 1, [(1, 1)])
    return losses(folder, 1, 1)


@pytest.fixture(scope="module")
def two_workers(workspace, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    run_workers(train, 2, workspace, folder, 2, CASES)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("zero_stage", "num_micro_batches"), CASES)
def test_micro_batches_train_like_whole_batches(zero_stage, num_micro_batches, whole, two_workers):
    # float32 sums in another order, through AdamW, whose first steps act like a sign.
    assert losses(two_workers, zero_stage, num_micro_batches) == pytest.approx(whole, rel=1e-4)
    assert whole[-1] < 0.8 * whole[0]


def test_a_batch_that_leaves_a_worker_without_work_is_refused():
    settings_of(5, 1, 3)
    with pytest.raises(ValidationError, match=r"global_batch_size 15 .* 18 or more"):
        settings_of(6, 1, 3)
