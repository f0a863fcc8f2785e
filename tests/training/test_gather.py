"""N workers must compute what one computes: the same loss, gradients and updates."""

from collections.abc import Iterable

import numpy as np
import pytest
import torch

from omnimat.modalities.composition.mlp import CompositionMlpSettings
from omnimat.modalities.tensors import ModalityTensors
from omnimat.modalities.text.mlp import TextMlpSettings
from omnimat.modalities.xrd.cnn import XrdCnnSettings
from omnimat.nn.checkpointing import checkpoint_layers
from omnimat.objectives.all_pairs_clip import AllPairsClipSettings
from omnimat.objectives.anchored_clip import AnchoredClipSettings
from omnimat.objectives.barlow_twins import BarlowTwinsSettings
from omnimat.objectives.clac import ClacSettings
from omnimat.objectives.clip import ClipSettings
from omnimat.objectives.contrastive import mean_over_groups
from omnimat.objectives.dcl import DclSettings
from omnimat.objectives.embeddings import Embeddings
from omnimat.objectives.registry import OBJECTIVES, AnyObjective
from omnimat.objectives.siglip import SigLipSettings
from omnimat.objectives.tensor_clip import TensorClipSettings
from omnimat.stream.order import shares_of_batch
from omnimat.testing.distributed import run_workers
from omnimat.training.accumulate import accumulate_gradients
from omnimat.training.engine import build_engine, whole_parameters
from omnimat.training.gather import gather_embeddings, make_batch_norm_global, sum_over_workers
from omnimat.training.model import Multimodal
from omnimat.training.settings import TrainingSettings

DIM, ROWS = 8, 12
# Not every worker has every modality: of two workers, the second has no text at all.
PRESENT = {
    "text": np.arange(ROWS) < 5,
    "xrd": np.arange(ROWS) % 3 != 0,
    "composition": np.ones(ROWS, bool),
}
FIELDS = {"text": ("embedding", 768), "xrd": ("intensity", 64), "composition": ("magpie", 132)}


ENCODERS = {
    "text": TextMlpSettings(preset="tiny"),
    "xrd": XrdCnnSettings(preset="tiny"),
    "composition": CompositionMlpSettings(preset="tiny"),
}


def build(modalities: Iterable[str] = ENCODERS, num_heads: int = 1) -> Multimodal:
    torch.manual_seed(0)
    encoders = {name: ENCODERS[name].build(DIM) for name in modalities}
    return Multimodal(encoders, DIM, 0.2, learnable_temperature=True, num_heads=num_heads)


def share_of_batch(rank: int, world_size: int) -> dict[str, ModalityTensors]:
    generator = torch.Generator().manual_seed(1)
    first, last = rank * ROWS // world_size, (rank + 1) * ROWS // world_size
    batch = {}
    for name, (field, width) in FIELDS.items():
        whole = torch.randn(ROWS, width, generator=generator)
        rows = torch.from_numpy(np.flatnonzero(PRESENT[name][first:last]))
        batch[name] = ModalityTensors(rows, {field: whole[first:last][rows]})
    return batch


def train(world_size: int, zero_stage: int, precision: str, num_steps: int) -> dict:
    """Train on one fixed global batch and return the losses and the final weights."""
    rank = torch.distributed.get_rank()
    settings = TrainingSettings(
        num_workers=world_size,
        global_batch_size=ROWS,
        zero_stage=zero_stage,
        precision=precision,
        lr=1e-2,
        gradient_clip=0.5,
    )
    model = build()
    make_batch_norm_global(model)
    engine = build_engine(model, settings, torch.device("cpu"), world_size)
    losses = []
    for _ in range(num_steps):
        local, logit_scale = engine(share_of_batch(rank, world_size), ROWS // world_size)
        everyone = gather_embeddings(local, [ROWS // world_size] * world_size)
        offset = rank * ROWS // world_size
        shares = AllPairsClipSettings()(local, everyone, offset, logit_scale)
        loss = mean_over_groups(shares)
        losses.append(float(sum_over_workers(loss)))
        engine.backward(loss * world_size)
        engine.step()
    buckets = getattr(engine.optimizer, "ipg_buckets", {})  # of gradients, by type
    with whole_parameters(engine):
        return {
            "losses": losses,
            "weights": {k: v.clone() for k, v in model.state_dict().items()},
            "exchanged": [str(dtype) for dtype in buckets],
        }


WIDE = 64
CASES: list[tuple[AnyObjective, tuple[str, ...]]] = [
    (ClipSettings(), ("text", "composition")),
    (AllPairsClipSettings(), ("text", "xrd", "composition")),
    (AnchoredClipSettings(anchor="xrd"), ("text", "xrd", "composition")),
    (DclSettings(), ("text", "xrd", "composition")),
    (SigLipSettings(), ("text", "xrd", "composition")),
    (TensorClipSettings(), ("text", "xrd", "composition")),
    (BarlowTwinsSettings(), ("text", "xrd", "composition")),
    (ClacSettings(), ("xrd", "text")),
]


def share_in_micro_batches(rank: int, world_size: int, num_micro_batches: int, num_views: int):
    """Give a worker's part of each micro-batch of a batch of 64, some of them without a text."""
    generator = torch.Generator().manual_seed(1)
    present = {
        "text": torch.arange(WIDE) < 20,
        "xrd": torch.arange(WIDE) % 3 != 0,
        "composition": torch.ones(WIDE, dtype=torch.bool),
    }
    whole = {
        name: torch.randn(WIDE * num_views, width, generator=generator, dtype=torch.float64)
        for name, (_, width) in FIELDS.items()
    }
    shares = shares_of_batch(WIDE, world_size=world_size, num_micro_batches=num_micro_batches)
    micro_batches = []
    for records in map(torch.from_numpy, shares[rank]):
        rows = (records[:, None] * num_views + torch.arange(num_views)).flatten()
        batch = {}
        for name, (field, _) in FIELDS.items():
            own = present[name][records].repeat_interleave(num_views).nonzero().squeeze(1)
            batch[name] = ModalityTensors(own, {field: whole[name][rows[own]]})
        micro_batches.append((batch, len(rows)))
    return micro_batches, [num_views * sum(map(len, share)) for share in shares]


def gradients(world_size: int) -> dict:
    """Run backward passes without DeepSpeed; return losses and gradients summed over workers."""
    return {
        f"{objective.type} in {num_micro_batches}": gradients_of(
            objective, modalities, world_size, num_micro_batches
        )
        for objective, modalities in CASES
        for num_micro_batches in (1, 2)
    } | {
        # One process keeps all activations; of several, each computes them again, with collectives.
        "checkpointed": gradients_of(
            AllPairsClipSettings(), ("text", "xrd"), world_size, 2, is_checkpointed=world_size > 1
        )
    }


def gradients_of(
    objective: AnyObjective,
    modalities: tuple[str, ...],
    world_size: int,
    num_micro_batches: int,
    is_checkpointed: bool = False,
) -> dict:
    rank = torch.distributed.get_rank()
    model = build(modalities, objective.num_heads).double()
    if is_checkpointed:
        checkpoint_layers(model)
    make_batch_norm_global(model)
    micro_batches, num_rows = share_in_micro_batches(
        rank, world_size, num_micro_batches, objective.num_views
    )

    def loss_of(local: Embeddings, logit_scale: torch.Tensor) -> torch.Tensor:
        everyone = gather_embeddings(local, num_rows)
        return mean_over_groups(objective(local, everyone, sum(num_rows[:rank]), logit_scale))

    if num_micro_batches == 1:
        loss = loss_of(*model(*micro_batches[0]))
        loss.backward()
    else:
        loss = accumulate_gradients(model, micro_batches, loss_of)
    return {
        "loss": sum_over_workers(loss),
        "gradients": {
            name: sum_over_workers(torch.zeros_like(p) if p.grad is None else p.grad)
            for name, p in model.named_parameters()
        },
        "statistics": dict(model.named_buffers()),
    }


RUNS = [(0, "fp32"), (1, "fp32"), (2, "fp32"), (3, "fp32"), (1, "bf16"), (3, "bf16")]


def train_all(world_size: int, runs: list[tuple[int, str]]) -> list[dict]:
    return [train(world_size, zero_stage, precision, 5) for zero_stage, precision in runs]


@pytest.fixture(scope="module")
def one_process():
    (result,) = run_workers(gradients, 1, 1)
    return result


def test_every_objective_is_here():
    compared = set(OBJECTIVES.names) - {"none"}  # which compares no embeddings
    assert {objective.type for objective, _ in CASES} == compared


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [3, 5])
def test_loss_and_gradients_equal_one_process(world_size, one_process):
    """No number of workers divides the batch of 64, and they have other modalities missing."""
    for result in run_workers(gradients, world_size, world_size):
        # float64 sums in another order: the largest error seen was 4e-14 of the largest entry.
        torch.testing.assert_close(result, one_process, rtol=1e-10, atol=1e-12)


@pytest.fixture(scope="module")
def alone():
    (results,) = run_workers(train_all, 1, 1, [(1, "fp32")])
    return results[0]["losses"]


@pytest.fixture(scope="module")
def together():
    first, second = run_workers(train_all, 2, 2, RUNS)
    for one, other in zip(first, second, strict=True):
        assert one["losses"] == other["losses"]
        torch.testing.assert_close(one["weights"], other["weights"], rtol=0, atol=0)
    return dict(zip(RUNS, first, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [0, 1, 2, 3])
def test_two_deepspeed_workers_train_like_one(zero_stage, alone, together):
    # float32 over five AdamW steps; the first ones act like a sign and amplify rounding.
    assert together[zero_stage, "fp32"]["losses"] == pytest.approx(alone, rel=1e-4)
    assert alone[-1] < 0.7 * alone[0]


@pytest.mark.slow
@pytest.mark.parametrize("zero_stage", [1, 3])
def test_bf16_trains_and_keeps_parameters_and_reductions_in_fp32(zero_stage, alone, together):
    result = together[zero_stage, "bf16"]
    # bf16 has 8 significant bits, so the same weights give the same loss to a few per cent.
    assert result["losses"][0] == pytest.approx(alone[0], rel=0.03)
    assert result["losses"][-1] < 0.7 * result["losses"][0]
    assert all(value.dtype != torch.bfloat16 for value in result["weights"].values())
    assert result["exchanged"] == ["torch.float32"]
