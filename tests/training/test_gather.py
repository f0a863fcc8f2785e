"""N workers must compute what one computes: the same loss, gradients and updates."""

import numpy as np
import pytest
import torch

from omnimat.modalities.composition.mlp import CompositionMlpSettings
from omnimat.modalities.tensors import ModalityTensors
from omnimat.modalities.text.mlp import TextMlpSettings
from omnimat.modalities.xrd.cnn import XrdCnnSettings
from omnimat.objectives.all_pairs_clip import AllPairsClipSettings
from omnimat.objectives.contrastive import mean_over_groups
from omnimat.testing.distributed import run_workers
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


def build() -> Multimodal:
    torch.manual_seed(0)
    encoders = {
        "text": TextMlpSettings(preset="tiny").build(DIM),
        "xrd": XrdCnnSettings(preset="tiny").build(DIM),
        "composition": CompositionMlpSettings(preset="tiny").build(DIM),
    }
    return Multimodal(encoders, DIM, 0.2, learnable_temperature=True)


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
        everyone = gather_embeddings(local)
        offset = rank * ROWS // world_size
        shares = AllPairsClipSettings()(local, everyone, offset, logit_scale)
        loss = mean_over_groups(shares)
        losses.append(float(sum_over_workers(loss)))
        engine.backward(loss * world_size)
        engine.step()
    with whole_parameters(engine):
        return {"losses": losses, "weights": {k: v.clone() for k, v in model.state_dict().items()}}


def gradients(world_size: int) -> dict:
    """Run one backward pass without DeepSpeed; return loss and gradients summed over workers."""
    rank = torch.distributed.get_rank()
    model = build().double()
    make_batch_norm_global(model)
    batch = {
        name: ModalityTensors(t.rows, {k: v.double() for k, v in t.arrays.items()})
        for name, t in share_of_batch(rank, world_size).items()
    }
    local, logit_scale = model(batch, ROWS // world_size)
    shares = AllPairsClipSettings()(
        local, gather_embeddings(local), rank * ROWS // world_size, logit_scale
    )
    loss = mean_over_groups(shares)
    loss.backward()
    return {
        "loss": sum_over_workers(loss),
        "gradients": {n: sum_over_workers(p.grad) for n, p in model.named_parameters()},
    }


RUNS = [(0, "fp32"), (1, "fp32"), (2, "fp32"), (3, "fp32"), (1, "bf16"), (3, "bf16")]


def train_all(world_size: int, runs: list[tuple[int, str]]) -> list[dict]:
    return [train(world_size, zero_stage, precision, 5) for zero_stage, precision in runs]


@pytest.fixture(scope="module")
def one_process():
    (result,) = run_workers(gradients, 1, 1)
    return result


@pytest.mark.slow
@pytest.mark.parametrize("world_size", [2, 4])
def test_loss_and_gradients_equal_one_process(world_size, one_process):
    for result in run_workers(gradients, world_size, world_size):
        torch.testing.assert_close(result["loss"], one_process["loss"], rtol=1e-12, atol=1e-12)
        # float64 sums in another order: the largest error seen was 3e-15 of the largest entry.
        torch.testing.assert_close(
            result["gradients"], one_process["gradients"], rtol=1e-9, atol=1e-11
        )


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
def test_bf16_trains_and_keeps_its_parameters_in_fp32(zero_stage, alone, together):
    result = together[zero_stage, "bf16"]
    # bf16 has 8 significant bits, so the same weights give the same loss to a few per cent.
    assert result["losses"][0] == pytest.approx(alone[0], rel=0.03)
    assert result["losses"][-1] < 0.7 * result["losses"][0]
    assert all(value.dtype != torch.bfloat16 for value in result["weights"].values())
