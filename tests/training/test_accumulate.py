"""Micro-batches that are joined through cached embeddings must equal one batch."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from omnimat.modalities.composition.mlp import CompositionMlpSettings
from omnimat.modalities.tensors import ModalityTensors
from omnimat.modalities.text.mlp import TextMlpSettings
from omnimat.objectives.barlow_twins import BarlowTwinsSettings
from omnimat.objectives.clip import ClipSettings
from omnimat.objectives.contrastive import mean_over_groups
from omnimat.training.accumulate import accumulate_gradients
from omnimat.training.model import Multimodal
from omnimat.training.regressor import Regressor

DIM, ROWS = 8, 12
PRESENT = np.arange(ROWS) % 5 != 4
# float64 sums in another order: the largest error seen was 2e-15 of the largest entry.
EXACT = {"rtol": 1e-10, "atol": 1e-13}


class Network(nn.Module):
    """Maps 768 numbers to an embedding, with dropout but without batch norm."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(768, 16), nn.Tanh(), nn.Dropout(dropout))
        self.head = nn.Linear(16, DIM)

    def forward(self, arrays):
        return self.head(self.layers(arrays["embedding"]))


def plain_model(dropout: float = 0.0) -> Multimodal:
    torch.manual_seed(0)
    encoders = {"structure": Network(dropout), "text": TextMlpSettings(preset="tiny").build(DIM)}
    regressors = {"text->structure": Regressor("text", DIM, [5], 3)}
    model = Multimodal(encoders, DIM, 0.2, learnable_temperature=True, regressors=regressors)
    return model.double()


def batch_norm_model() -> Multimodal:
    torch.manual_seed(0)
    encoders = {
        "composition": CompositionMlpSettings(preset="tiny").build(DIM),
        "text": TextMlpSettings(preset="tiny").build(DIM),
    }
    return Multimodal(encoders, DIM, 0.2, learnable_temperature=True).double()


def micro_batches(sizes, inputs, first=0):
    """Split the fixed batch into micro-batches, starting at row ``first``."""
    generator = torch.Generator().manual_seed(1)
    whole = {
        name: torch.randn(ROWS, width, generator=generator, dtype=torch.float64)
        for name, width in (("embedding", 768), ("magpie", 132), ("other", 768))
    }
    batches = []
    for size in sizes:
        rows = {name: torch.arange(size) if name != "text" else own(first, size) for name in inputs}
        tensors = {
            name: ModalityTensors(
                rows[name], {field: whole[source][first : first + size][rows[name]]}
            )
            for name, (field, source) in inputs.items()
        }
        batches.append((tensors, size))
        first += size
    return batches


def own(first, size):
    return torch.from_numpy(np.flatnonzero(PRESENT[first : first + size]))


PLAIN = {"structure": ("embedding", "other"), "text": ("embedding", "embedding")}
NORMED = {"composition": ("magpie", "magpie"), "text": ("embedding", "embedding")}


def loss_with(objective):
    def loss_of(embeddings, logit_scale):
        loss = mean_over_groups(objective(embeddings, embeddings, 0, logit_scale))
        # A loss of predictions that, like a contrast, no sum over micro-batches can give.
        return loss + sum(p.square().sum().sqrt() for p in embeddings.predictions.values())

    return loss_of


def gradients_of(model):
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def run(model, sizes, inputs=PLAIN, objective=None):
    model.zero_grad()
    loss_of = loss_with(objective or ClipSettings())
    loss = accumulate_gradients(model, micro_batches(sizes, inputs), loss_of)
    return loss, {name: gradient.clone() for name, gradient in gradients_of(model).items()}


@pytest.mark.parametrize("sizes", [[12], [6, 6], [3, 3, 3, 3], [5, 1, 6], [1] * 12])
@pytest.mark.parametrize("objective", [ClipSettings(), BarlowTwinsSettings()], ids=lambda o: o.type)
def test_micro_batches_equal_one_batch(sizes, objective):
    model = plain_model()
    ((tensors, size),) = micro_batches([ROWS], PLAIN)
    loss = loss_with(objective)(*model(tensors, size))
    loss.backward()
    expected = {n: torch.zeros(1) if g is None else g for n, g in gradients_of(model).items()}
    ours, gradients = run(copy.deepcopy(model), sizes, objective=objective)
    torch.testing.assert_close(ours, loss.detach(), **EXACT)
    for name, gradient in gradients.items():
        reference = expected[name].to(gradient.dtype).expand_as(gradient)
        torch.testing.assert_close(gradient, reference, **EXACT)


def test_summed_losses_of_micro_batches_would_not():
    model = plain_model()
    whole, _ = run(model, [12])
    parts = [loss_with(ClipSettings())(*model(*batch)) for batch in micro_batches([6, 6], PLAIN)]
    assert abs(float(sum(parts).detach()) / 2 - float(whole)) > 0.1


def test_dropout_is_the_same_in_both_passes():
    """With a wrong mask in the second pass, the gradient would differ from finite differences."""
    model = plain_model(dropout=0.5)
    torch.manual_seed(4)
    _, gradients = run(model, [6, 6])
    weight, step = model.encoders["structure"].head.weight, 1e-6
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[2, 3] += sign * step
        torch.manual_seed(4)
        losses.append(run(model, [6, 6])[0])
        with torch.no_grad():
            weight[2, 3] -= sign * step
    slope = (losses[0] - losses[1]) / (2 * step)
    # The reference is a central difference with step 1e-6 in float64.
    expected = gradients["encoders.structure.head.weight"][2, 3]
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-9)


def test_batch_norm_sees_each_micro_batch_alone_and_tracks_it_once():
    model = batch_norm_model()
    by_hand = copy.deepcopy(model)
    outputs = [by_hand(*batch) for batch in micro_batches([6, 6], NORMED)]
    joined = {n: torch.cat([o.values[n] for o, _ in outputs]) for n in NORMED}
    present = {n: torch.cat([o.present[n] for o, _ in outputs]) for n in NORMED}
    expected = loss_with(ClipSettings())(type(outputs[0][0])(joined, present), outputs[0][1])
    expected.backward()
    loss, gradients = run(model, [6, 6], NORMED)
    torch.testing.assert_close(loss, expected.detach(), **EXACT)
    torch.testing.assert_close(gradients, gradients_of(by_hand), **EXACT)
    torch.testing.assert_close(dict(model.named_buffers()), dict(by_hand.named_buffers()))
    whole, _ = run(batch_norm_model(), [12], NORMED)
    assert abs(float(loss - whole)) > 1e-3


def test_batch_norm_in_evaluation_is_exact():
    model = batch_norm_model().eval()
    whole, alone = run(model, [12], NORMED)
    parts, together = run(model, [4, 4, 4], NORMED)
    torch.testing.assert_close(parts, whole, **EXACT)
    torch.testing.assert_close(together, alone, **EXACT)
