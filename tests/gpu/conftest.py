"""The same lines on a CPU and on a GPU, from features that need no library to be made."""

from pathlib import Path

import pytest
import torch
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.job.load import load
from omnimat.nn.precision import exact_products
from omnimat.testing.synthetic_store import DATASET, write_store
from omnimat.training.plan import RunPlan, make_plan

JOB = Path(__file__).parents[2] / "jobs" / "multimat" / "pretrain.yaml"
NUM_MATERIALS = 20
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NEEDS_CUDA])])
def device(request) -> torch.device:
    """Where a test computes."""
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def _exact():
    """Compare what is computed in float32, not in TF32."""
    with exact_products():
        yield


@pytest.fixture(scope="session")
def new_plan(tmp_path_factory):
    """Plan a run of MultiMat's tiny networks on a few materials in a complete store."""
    workspace = Workspace(UPath(tmp_path_factory.mktemp("storage")))

    def new_plan(**training) -> RunPlan:
        small = {"global_batch_size": 8, "num_epochs": 2, "warmup_epochs": 1, "lr": 1e-3}
        small |= {"report_interval_steps": 1, "checkpoint_interval_epochs": 1}
        sets = [f"training.{key}={value}" for key, value in (small | training).items()]
        settings = load(JOB, ("preset=tiny", f"dataset={DATASET}", *sets)).settings
        if not workspace.dataset(DATASET).exists():
            write_store(workspace, settings.modalities.featurizers(), NUM_MATERIALS)
        return make_plan("run", settings, workspace)

    return new_plan
