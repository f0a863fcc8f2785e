"""Networks, losses and ranks on a device against the same on the CPU."""

import numpy as np
import pytest
import torch

from omnimat.evaluation.ranks import rank_pairs
from omnimat.finetune.plan import make_plan
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial import predict, run_trial
from omnimat.modalities.batch import collate
from omnimat.models.embed import ExportedEncoder
from omnimat.models.export import save
from omnimat.models.inputs import export_folder, read_cards
from omnimat.objectives.all_pairs_clip import AllPairsClipSettings
from omnimat.objectives.contrastive import mean_over_groups
from omnimat.testing.synthetic_store import DATASET, TARGET
from omnimat.training.accumulate import accumulate_gradients
from omnimat.training.feed import micro_batch
from omnimat.training.loop import build_model

MODALITIES = ("structure", "dos", "charge_density", "text")
# Sums of float32 in another order, amplified by the layers of a network.
SINGLE = {"rtol": 1e-3, "atol": 1e-4}


def model_of(plan, device):
    torch.manual_seed(0)
    return build_model(plan.settings).to(device)


def batches_of(plan, device, *sizes):
    """Give some materials of the store as micro-batches of these sizes."""
    table = plan.store.open().table(np.arange(sum(sizes)))
    featurizers = plan.settings.modalities.featurizers()
    firsts = np.cumsum([0, *sizes[:-1]])
    parts = [table.slice(first, size) for first, size in zip(firsts, sizes, strict=True)]
    return [micro_batch(collate(part, featurizers), device) for part in parts]


def loss_of(embeddings, logit_scale):
    return mean_over_groups(AllPairsClipSettings()(embeddings, embeddings, 0, logit_scale))


def gradients_of(model):
    return {n: p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("modality", MODALITIES)
def test_an_encoder_is_that_of_the_cpu(modality, device, new_plan):
    plan = new_plan()
    outputs = []
    for place in (torch.device("cpu"), device):
        encoder = model_of(plan, place).encoders[modality]
        ((batch, _),) = batches_of(plan, place, 6)
        embedded = encoder(batch[modality].arrays)
        embedded.square().sum().backward()
        gradients = [p.grad.cpu() for p in encoder.parameters()]
        outputs.append((embedded.detach().cpu(), gradients))
    torch.testing.assert_close(*outputs, **SINGLE)


@pytest.mark.parametrize("num_materials", [0, 6])
@pytest.mark.parametrize("modality", MODALITIES)
def test_an_encoder_embeds_in_half_precision(modality, num_materials, device, new_plan):
    encoder = model_of(new_plan(), device).encoders[modality]
    ((batch, _),) = batches_of(new_plan(), device, num_materials)
    arrays = batch[modality].arrays
    with torch.autocast(device.type, dtype=torch.bfloat16):
        rough = encoder(arrays)
    rough.float().sum().backward()
    assert rough.shape == (num_materials, new_plan().settings.embedding_dim)
    assert all(bool(p.grad.isfinite().all()) for p in encoder.parameters())
    exact = encoder(arrays).detach()
    assert float((rough.detach().float() - exact).norm()) <= 0.1 * float(exact.norm())


def test_micro_batches_through_cached_embeddings_equal_one_batch(device, new_plan):
    plan = new_plan()
    results = []
    for sizes in ([9], [5, 4]):
        # In evaluation mode, in which batch norm does not see which materials come together.
        model = model_of(plan, device).eval()
        loss = accumulate_gradients(model, batches_of(plan, device, *sizes), loss_of)
        results.append((loss.cpu(), gradients_of(model)))
    torch.testing.assert_close(*results, **SINGLE)


def test_ranks_are_those_of_the_cpu(device):
    keys, noise = torch.randn(2, 512, 32).unbind()
    groups = np.arange(512) // 2
    here, there = (
        rank_pairs((keys + noise).to(place), keys.to(place), groups)
        for place in (torch.device("cpu"), device)
    )
    for kind in ("own", "any_duplicate", "own_among_others"):
        for name in ("nearer", "as_near", "right", "num_wrong"):
            ours, theirs = (getattr(getattr(one, kind), name) for one in (there, here))
            assert ours.tolist() == theirs.tolist()


@pytest.fixture
def exported(new_plan):
    """Leave the encoders of a run that has taken no step; give its plan and workspace."""
    from omnimat.base.workspace import Workspace

    plan = new_plan()
    workspace = Workspace(plan.dataset.parent.parent)
    model = model_of(plan, torch.device("cpu"))
    for modality, card in plan.cards(step=0).items():
        save(export_folder(workspace.run("run"), modality), model.encoders[modality], card)
    return plan, workspace


def test_stored_features_are_embedded_as_on_the_cpu(device, exported):
    plan, workspace = exported
    loaded = ExportedEncoder.load(export_folder(workspace.run("run"), "structure"))
    store, positions = plan.store.open(), np.array([3, 0, 7, 7])
    here, there = (
        ExportedEncoder(loaded.folder, loaded.card, loaded.module.to(place), place).embed_stored(
            store, positions, batch_size=3
        )
        for place in (torch.device("cpu"), device)
    )
    torch.testing.assert_close(there.values, here.values, **SINGLE)
    assert there.present.all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("variant", "left"), [("finetuned", 0.5), ("frozen", 0.8)])
def test_a_trial_learns_and_predicts(variant, left, precision, device, exported):
    _, workspace = exported
    settings = FinetuneSettings.model_validate(
        {
            "dataset": DATASET,
            "run": "run",
            "tasks": [{"name": TARGET, "target": TARGET}],
            "variants": [variant],
            "learning_rates": [1e-2],
            "seeds": [0],
            "trial": {"num_epochs": 30, "batch_size": 8, "precision": precision},
            "gpus_per_trial": float(device.type == "cuda"),
        }
    )
    plan = make_plan(settings, workspace, read_cards(workspace.run("run")))
    (trial,) = settings.trials()
    folder = workspace.run(f"trial-{variant}-{precision}-{device.type}")
    result = run_trial(plan, trial, folder, lambda entry: None)
    assert plan.device == device
    assert result.history[-1]["train_loss"] < left * result.history[0]["train_loss"]
    (predicted,) = predict(plan, result, folder, "validation").values()
    assert np.isfinite(predicted["prediction"]).all()
