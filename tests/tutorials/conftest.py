import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.inference.build import package
from omnimat.inference.read import read_all
from omnimat.job.kinds.pretrain import PretrainJob
from omnimat.job.load import load_as
from omnimat.materials.record import Record
from omnimat.models.export import load, save
from omnimat.models.inputs import export_folder
from omnimat.testing.materials import encoder_arrays

JOBS = Path(__file__).parents[2] / "jobs"


@torch.no_grad()
def center(encoder: nn.Module, arrays: dict[str, torch.Tensor]) -> None:
    """Take away what all materials have in common: nearly all that a random encoder says."""
    last = [module for module in encoder.modules() if isinstance(module, nn.Linear)][-1]
    last.bias -= encoder(arrays).mean(dim=0)


def crystals() -> list[Record]:
    given = read_all(str(JOBS / "crystals" / "*.cif"))
    return [replace(one.record, material_id=Path(one.name).stem) for one in given]


@pytest.fixture(scope="session")
def model(write_records, write_run, tmp_path_factory) -> Path:
    """A package as of jobs/tutorials/pretrain.yaml, but of encoders that have not been trained."""
    small = ["dataset=crystals", "training.global_batch_size=8"]
    job = load_as(PretrainJob, JOBS / "tutorials/pretrain.yaml", small)
    workspace = Workspace(UPath(tmp_path_factory.mktemp("tutorials")))
    records = crystals()
    write_records(workspace.dataset("crystals"), [records], lambda material: "train")
    write_run(workspace, job.name, job.settings)
    for modality, choice in job.settings.modalities.chosen().items():
        folder = export_folder(workspace.run(job.name), modality)
        encoder, card = load(folder)
        center(encoder.eval(), encoder_arrays(records, choice.featurizer))
        save(folder, encoder, card)
    package(job.name, workspace, Path(workspace.root / "model"))
    return Path(workspace.root / "model")


@pytest.fixture
def run_tutorial(model, tmp_path, monkeypatch):
    """Run a tutorial as a user does from the folder of the repository; give what it defined."""
    (tmp_path / "jobs").symlink_to(JOBS)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/model").symlink_to(model)
    monkeypatch.chdir(tmp_path)
    return lambda name: runpy.run_path(str(JOBS / "tutorials" / f"{name}.py"))
