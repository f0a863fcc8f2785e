"""Pretraining on random views: which jobs are accepted, and CLaC from end to end."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.stream.worker import in_process
from omnimat.testing.distributed import run_workers
from omnimat.training.context import WorkerContext
from omnimat.training.history import read_history
from omnimat.training.loop import train_worker
from omnimat.training.plan import RunPlan, make_plan
from omnimat.training.settings import PretrainSettings


def clac_settings(**training) -> dict:
    return {
        "dataset": "prototypes",
        "modalities": {
            "structure": {
                "featurizer": {
                    "neighbors": "within_cutoff",
                    "cutoff_angstrom": 5.0,
                    "max_neighbors": 12,
                    "lattice_sums": "none",
                },
                "encoder": {"type": "painn", "preset": "tiny"},
                "augmentation": {"masked_edges": 0.15, "masked_atoms": 0.15},
            },
            "text": {
                "featurizer": {"source": "hashed"},
                "encoder": {"preset": "tiny"},
                "augmentation": {},
            },
        },
        "embedding_dim": 16,
        "objective": {"type": "clac"},
        "training": {
            "global_batch_size": 8,
            "num_epochs": 16,
            "lr": 1e-2,
            "report_interval_steps": 1,
            "checkpoint_interval_epochs": 16,
        }
        | training,
    }


def changed(**changes) -> dict:
    return clac_settings() | changes


def without_augmentation(modality: str) -> dict:
    settings = clac_settings()
    del settings["modalities"][modality]["augmentation"]
    return settings


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            without_augmentation("text"),
            r"objective.type 'clac' .*set modalities\.text\.augmentation",
        ),
        (
            changed(stream={"read_from": "store"}),
            r"stream\.read_from: .*set it to shards.*modalities\.structure\.augmentation",
        ),
        (
            changed(stream={"read_from": "store"}, objective={"type": "clip"}),
            r"stream\.read_from: .*set it to shards",
        ),
    ],
)
def test_views_that_cannot_be_made_are_refused(settings, sentence):
    with pytest.raises(ValidationError, match=sentence):
        PretrainSettings.model_validate(settings)


@pytest.mark.parametrize(("objective", "num_views"), [("clac", 2), ("clip", 1)])
def test_the_objective_says_how_many_views_there_are(workspace, objective, num_views):
    settings = PretrainSettings.model_validate(changed(objective={"type": objective}))
    plan = make_plan("run", settings, workspace)
    batch = next(plan.stream(0, 1, in_process).batches())
    names = batch.material_ids.to_pylist()
    assert len(names) == 8 * num_views
    assert names == np.repeat(names[::num_views], num_views).tolist()
    assert plan.cards(step=5)["text"].samples_seen == 40


def train(plan: RunPlan, folder: Path) -> dict:
    context = WorkerContext(UPath(folder), torch.device("cpu"))
    train_worker(plan, context, in_process)
    return {}


def history_of(world_size: int, workspace: Workspace, folder: Path) -> pd.DataFrame:
    settings = PretrainSettings.model_validate(clac_settings(num_workers=world_size))
    folder.mkdir()
    run_workers(train, world_size, make_plan("run", settings, workspace), folder)
    return read_history(UPath(folder))


@pytest.mark.slow
def test_clac_learns(workspace, tmp_path):
    alone, together = (history_of(n, workspace, tmp_path / str(n)) for n in (1, 2))
    across = ["structure|text", "structure'|text", "structure|text'", "structure'|text'"]
    terms = [f"loss/{term}" for term in [*across, "structure|structure'", "text|text'"]]
    np.testing.assert_allclose(alone["loss"], alone[terms].mean(axis=1), rtol=1e-5)
    # Two workers add the same numbers in another order, which training amplifies; the largest
    # difference seen was 1e-6.
    np.testing.assert_allclose(together["loss"], alone["loss"], rtol=1e-3)
    # Guessing among 8 materials has a loss of log 8 = 2.08; losses seen fell from 2.5 to 0.9.
    assert alone["loss"].iloc[-4:].mean() < 1.3 < alone["loss"].iloc[:4].mean()
