"""In a training step nothing waits for a GPU; only a report may.

A CPU waits for nothing, so what would is found by what is asked of torch.
"""

import dataclasses
from pathlib import Path

import pytest
import torch
from upath import UPath

from omnimat.job.load import load
from omnimat.modalities.batch import collate, feature_table
from omnimat.modalities.tensors import ModalityTensors
from omnimat.objectives.registry import OBJECTIVES
from omnimat.stream.timing import StreamMeter
from omnimat.testing.distributed import run_workers
from omnimat.testing.host_syncs import HostSyncs
from omnimat.testing.materials import example_records, featurizer_for
from omnimat.training.context import WorkerContext
from omnimat.training.engine import adamw
from omnimat.training.loop import build_model
from omnimat.training.loss import BatchLoss
from omnimat.training.meter import Meter
from omnimat.training.settings import PretrainSettings
from omnimat.training.stopwatch import Stopwatch

JOBS = Path(__file__).parents[2] / "jobs"
NUM_MATERIALS = 8
CPU = torch.device("cpu")
REGRESSION = {
    "from": "structure",
    "to": "xrd",
    "scale": {"mean": 0, "standard_deviation": 9},
}
WITHIN = {"neighbors": "within_cutoff", "cutoff_angstrom": 8.0, "max_neighbors": 20}
OTHERS = {
    "gated_graph": {"encoder": {"type": "gated_graph", "preset": "tiny"}, "featurizer": WITHIN},
    "cgcnn": {"encoder": {"type": "cgcnn", "preset": "tiny"}, "featurizer": {}},
}


def settings_of(system: str) -> PretrainSettings:
    """Give the settings of a system with tiny networks, or of a graph network with regression."""
    if system not in OTHERS:
        return load(JOBS / f"{system}.yaml", ("preset=tiny",)).settings
    structure = OTHERS[system]
    featurizer = structure["featurizer"] | {"lattice_sums": "none"}
    return PretrainSettings.model_validate(
        {
            "dataset": "data",
            "modalities": {
                "structure": structure | {"featurizer": featurizer},
                "xrd": {"encoder": {"preset": "tiny"}},
                "composition": {},
            },
            "objective": {"type": "anchored_clip"},
            "regression": [REGRESSION],
        }
    )


def tensors_of(settings: PretrainSettings) -> dict[str, ModalityTensors]:
    """Featurize crystals of which some lack some modality."""
    featurizers = {k: featurizer_for(v) for k, v in settings.modalities.encoders().items()}
    records = [
        dataclasses.replace(record, parts={k: v for k, v in record.parts.items() if k != lost})
        for record, lost in zip(
            example_records(NUM_MATERIALS),
            ["", "dos", "text", "", "charge_density", *[""] * 3],
            strict=True,
        )
    ]
    batch = collate(feature_table(records, featurizers), featurizers)
    assert all(len(one.rows) >= NUM_MATERIALS - 2 for one in batch.modalities.values())
    return {name: ModalityTensors.from_numpy(one) for name, one in batch.modalities.items()}


def step_of(settings: PretrainSettings, tensors: dict[str, ModalityTensors]) -> list[str]:
    """Take a step as the only worker, and give what in it waits."""
    model = build_model(settings)
    # The fused optimizer is that of a GPU; the plain one keeps its count of steps on the host.
    optimizer = adamw(model, settings.training, CPU)
    for group in optimizer.param_groups:
        group["fused"] = True
    context = WorkerContext(UPath("memory://run"), CPU)
    meter = Meter(NUM_MATERIALS, Stopwatch(CPU), StreamMeter())
    with HostSyncs() as syncs:
        loss_of = BatchLoss.of(
            settings, [(tensors, NUM_MATERIALS)], [NUM_MATERIALS], context, meter
        )
        loss_of(*model(tensors, NUM_MATERIALS)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        meter.add(loss_of.shares)
    assert meter.read()["loss_is_finite"]
    return syncs.found


def second_step(system: str) -> list[str]:
    """Take two steps: the first one also copies to the device what stays there."""
    settings = settings_of(system)
    tensors = tensors_of(settings)
    step_of(settings, tensors)
    return step_of(settings, tensors)


@pytest.mark.parametrize(
    ("system", "waits"),
    [
        ("multimat/pretrain", []),
        ("unimat/pretrain-xrd-composition", []),
        ("unimat/pretrain-structure-xrd", []),
        ("clac/pretrain", []),
        ("gated_graph", []),
        ("cgcnn", []),
    ],
)
def test_a_step_waits_for_nothing(system, waits):
    (found,) = run_workers(second_step, 1, system)
    assert [one.split(" ")[0] for one in found] == waits, found


def test_what_waits_is_found_with_the_line_that_asks():
    values = torch.arange(6.0)
    with HostSyncs() as syncs:
        values[values > 2].sum().item()
        values.cpu()
        torch.arange(3).repeat_interleave(torch.tensor([1, 2, 3]))
        torch.arange(3).repeat_interleave(torch.tensor([1, 2, 3]), output_size=6)
        bool(values.any())
    kinds = [one.split(" ")[0] for one in syncs.found]
    assert kinds == [
        *("index", "_local_scalar_dense", "cpu", "lift_fresh", "repeat_interleave"),
        *("lift_fresh", "_local_scalar_dense"),
    ]


@pytest.mark.parametrize("name", sorted(set(OBJECTIVES.names) - {"none", "clac"}))
def test_no_objective_waits(name):
    """CLaC's has two heads, and is tested with its system."""
    from omnimat.objectives.embeddings import Embeddings

    objective = OBJECTIVES.load(name)()
    modalities = ("structure", "dos", "text")[: objective.most_modalities or 3]
    rows = {m: torch.randn(12, 5, requires_grad=True) for m in modalities}
    present = {m: torch.arange(12) % 5 != place for place, m in enumerate(modalities)}
    for block_size in (4, 2048):
        chosen = objective.model_copy(update={"block_size": block_size})
        for _ in range(2):
            with HostSyncs() as syncs:
                shares = chosen(
                    Embeddings(rows, present), Embeddings(rows, present), 0, torch.zeros(1)
                )
                sum(shares.values()).backward()
        assert syncs.found == []
