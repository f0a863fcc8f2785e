"""What a worker writes of a checkpoint is whole, or is gone and named in one sentence."""

import resource
import signal
import tempfile
from pathlib import Path

import pytest
import torch

from omnimat.testing.distributed import run_workers
from omnimat.training.checkpoint import Progress, write_part
from omnimat.training.checkpoint_store import CheckpointError
from omnimat.training.engine import build_engine
from omnimat.training.loop import build_model
from omnimat.training.plan import RunPlan, make_plan

pytestmark = pytest.mark.slow


def write_with_little_room(plan: RunPlan, folder: Path) -> list[str]:
    """Write a part where no file may grow beyond 1 and then 16 KiB; return what is said."""
    device = torch.device("cpu")
    engine = build_engine(build_model(plan.settings), plan.settings.training, device, 1)
    tempfile.tempdir = str(folder)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    said = []
    for size_bytes in (2**10, 2**14):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
        with pytest.raises(CheckpointError) as caught:
            write_part(engine, plan.cards(1), Progress(1))
        said.append(str(caught.value))
        assert list(folder.iterdir()) == []
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    return said


def test_a_full_disk_is_named_and_nothing_is_left(workspace, new_settings, tmp_path):
    plan = make_plan("run", new_settings(), workspace)
    for said in run_workers(write_with_little_room, 1, plan, tmp_path)[0]:
        assert f"{tmp_path}/omnimat-checkpoint-" in said
        assert "File too large" in said
        assert "free some space on its disk" in said
