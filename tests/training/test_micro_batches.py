"""A step of several micro-batches trains like a whole one at every ZeRO stage of DeepSpeed.

Neither the workers' shares nor their micro-batches are equally large, nor do they know as many of
the labels that are predicted beside the contrast.
"""

from dataclasses import replace
from itertools import cycle
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
from omnimat.testing.materials import example_records
from omnimat.training.context import WorkerContext
from omnimat.training.history import read_history
from omnimat.training.loop import train_worker
from omnimat.training.plan import make_plan
from omnimat.training.settings import PretrainSettings

DENSITY, SYSTEM = "density_g_per_cm3", "crystal_system"
KNOWN = ([DENSITY, SYSTEM], [SYSTEM], [DENSITY], [])
"""What one material after another knows."""
WEIGHTS = {"structure|text": 1.0, "structure->properties": 2.0, "structure->text": 1.0}
# Runs of so many micro-batches also compute the layers' activations again in the backward pass.
CHECKPOINTED = 3
CASES = [(zero_stage, num) for zero_stage in (0, 1, 2, 3) for num in (2, 3)]
# By edges, of which a material of six atoms has 6 x 16 + 36. With so few, some micro-batches hold a
# single material, and then one of two workers has none.
BY_EDGES = [(zero_stage, -180) for zero_stage in (0, 1, 2, 3)]


@pytest.fixture(scope="module")
def some_labels(workspace, write_records) -> Workspace:
    """The workspace with another data set, whose materials lack some labels."""
    records = [
        replace(record, properties={key: record.properties[key] for key in known})
        for record, known in zip(example_records(40, 6), cycle(KNOWN), strict=False)
    ]
    shards = [records[first : first + 10] for first in range(0, 40, 10)]
    write_records(workspace.dataset("some-labels"), shards, lambda _: "train")
    return workspace


def settings_of(world_size: int, zero_stage: int, num_micro_batches: int) -> PretrainSettings:
    """Return the settings of a run with two encoders, both without batch norm."""
    return PretrainSettings.model_validate(
        {
            "dataset": "some-labels",
            "modalities": {
                "structure": {
                    "featurizer": {"neighbors": "within_cutoff", "cutoff_angstrom": 5.0},
                    "encoder": {"type": "painn", "preset": "tiny"},
                },
                "text": {"featurizer": {"source": "hashed"}, "encoder": {"preset": "tiny"}},
                "properties": {
                    "featurizer": {"numbers": [DENSITY], "classes": [SYSTEM]},
                    "encoder": None,
                },
            },
            "embedding_dim": 8,
            "objective": {"type": "clip"},
            "regression": [
                {"from": "structure", "to": "properties", "weight": 2.0, "hidden_widths": [8]},
                {"from": "structure", "to": "text", "loss": "squared", "hidden_widths": []},
            ],
            "training": {
                "num_workers": world_size,
                "zero_stage": zero_stage,
                "activation_checkpointing": num_micro_batches == CHECKPOINTED,
                **(
                    {"num_micro_batches": num_micro_batches}
                    if num_micro_batches > 0
                    else {"max_edges_per_micro_batch": -num_micro_batches}
                ),
                "global_batch_size": 15,
                "num_epochs": 4,
                "lr": 1e-2,
                "report_interval_steps": 1,
                "checkpoint_interval_epochs": 4,
            },
        }
    )


def train(workspace, folder: Path, world_size: int, cases: list[tuple[int, int]]) -> None:
    for zero_stage, num_micro_batches in cases:
        settings = settings_of(world_size, zero_stage, num_micro_batches).located(workspace)
        plan = make_plan("run", settings, workspace)
        target = folder / f"{zero_stage}-{num_micro_batches}"
        target.mkdir(exist_ok=True)
        train_worker(plan, WorkerContext(UPath(target), torch.device("cpu")), in_process)


def losses(folder: Path, zero_stage: int, num_micro_batches: int) -> pd.DataFrame:
    history = read_history(UPath(folder / f"{zero_stage}-{num_micro_batches}"))
    return history.filter(regex="^loss(/|$)")


@pytest.fixture(scope="module")
def whole(some_labels, tmp_path_factory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("whole")
    run_workers(train, 1, some_labels, folder, 1, [(1, 1)])
    return losses(folder, 1, 1)


@pytest.fixture(scope="module")
def two_workers(some_labels, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    run_workers(train, 2, some_labels, folder, 2, CASES + BY_EDGES)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("zero_stage", "num_micro_batches"), CASES + BY_EDGES)
def test_micro_batches_train_like_whole_batches(zero_stage, num_micro_batches, whole, two_workers):
    # float32 sums in another order, through AdamW, whose first steps act like a sign.
    ours = losses(two_workers, zero_stage, num_micro_batches)
    pd.testing.assert_frame_equal(ours, whole, rtol=1e-4)
    assert set(whole) == {"loss", *(f"loss/{pair}" for pair in WEIGHTS)}
    weighted = sum(weight * whole[f"loss/{pair}"] for pair, weight in WEIGHTS.items())
    np.testing.assert_allclose(whole["loss"], weighted, rtol=1e-5)  # sums in float32
    assert whole["loss"].iloc[-1] < 0.8 * whole["loss"].iloc[0]


def test_a_batch_that_leaves_a_worker_without_work_is_refused():
    settings_of(5, 1, 3)
    with pytest.raises(ValidationError, match=r"global_batch_size 15 .* 18 or more"):
        settings_of(6, 1, 3)


def test_a_batch_is_cut_in_one_way():
    with pytest.raises(
        ValidationError, match=r"max_edges_per_micro_batch 180 .* leave one of them"
    ):
        settings_of(1, 1, -180).training.model_validate(
            {"num_micro_batches": 2, "max_edges_per_micro_batch": 180}
        )


def test_edges_bound_only_what_has_graphs():
    given = settings_of(1, 1, -180).model_dump()
    given["modalities"] = {"text": given["modalities"]["text"], "composition": {}}
    given["regression"] = []
    with pytest.raises(ValidationError, match=r"max_edges.* no modality of the run is a crystal"):
        PretrainSettings.model_validate(given)
