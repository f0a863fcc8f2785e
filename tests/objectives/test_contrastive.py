"""The masked pair loss against its plain definition, split over workers, and at its edges."""

import pytest
import torch
from torch.nn import functional

from omnimat.base.errors import UserError
from omnimat.objectives.all_pairs_clip import AllPairsClipSettings
from omnimat.objectives.clip import ClipSettings
from omnimat.objectives.contrastive import mean_over_groups
from omnimat.objectives.embeddings import Embeddings

MODALITIES = ("structure", "dos", "text")
NUM_ROWS, DIM = 12, 5


def make_leaves(dtype=torch.float64, num_rows=NUM_ROWS):
    generator = torch.Generator().manual_seed(7)
    return {
        modality: functional.normalize(
            torch.randn(num_rows, DIM, dtype=torch.float64, generator=generator), dim=1
        )
        .to(dtype)
        .requires_grad_()
        for modality in MODALITIES
    }


def make_present(num_rows=NUM_ROWS):
    generator = torch.Generator().manual_seed(8)
    present = {m: torch.rand(num_rows, generator=generator) < 0.7 for m in MODALITIES}
    present["structure"] = torch.ones(num_rows, dtype=torch.bool)
    return present


def rows_of(embeddings, rows):
    return Embeddings(
        values={m: v[rows] for m, v in embeddings.values.items()},
        present={m: p[rows] for m, p in embeddings.present.items()},
    )


def total_over_workers(objective, leaves, present, logit_scale, num_workers):
    everyone = Embeddings(leaves, present)
    num_local = NUM_ROWS // num_workers
    return sum(
        mean_over_groups(
            objective(
                rows_of(everyone, slice(offset, offset + num_local)), everyone, offset, logit_scale
            )
        )
        for offset in range(0, NUM_ROWS, num_local)
    )


def dense_pair_loss(a, b, valid, temperature):
    """The definition: drop the rows, then CLIP's mean over both directions."""
    logits = a[valid] @ b[valid].T / temperature
    labels = torch.arange(len(logits))
    return (
        functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)
    ) / 2


def test_one_process_equals_dense_definition():
    leaves, present = make_leaves(), make_present()
    everyone = Embeddings(leaves, present)
    logit_scale = torch.tensor([1.3], dtype=torch.float64, requires_grad=True)
    shares = AllPairsClipSettings()(everyone, everyone, 0, logit_scale)
    assert set(shares) == {"structure|dos", "structure|text", "dos|text"}
    inputs = [*leaves.values(), logit_scale]
    for name, share in shares.items():
        a, b = name.split("|")
        temperature = torch.exp(-logit_scale)
        expected = dense_pair_loss(leaves[a], leaves[b], present[a] & present[b], temperature)
        # Two orders of summation of the same float64 terms.
        torch.testing.assert_close(share, expected, rtol=1e-12, atol=1e-12)
        ours, theirs = (
            torch.autograd.grad(
                x, inputs, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for x in (share, expected)
        )
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_same_input_gives_the_same_bits():
    leaves, present = make_leaves(torch.float32), make_present()
    values = {
        total_over_workers(AllPairsClipSettings(), leaves, present, torch.ones(1), 2).item()
        for _ in range(3)
    }
    assert len(values) == 1


def test_clip_uses_the_temperature_floor():
    leaves, present = make_leaves(), make_present()
    everyone = rows_of(Embeddings(leaves, present), slice(NUM_ROWS))
    two = Embeddings(
        {m: everyone.values[m] for m in ("structure", "dos")},
        {m: everyone.present[m] for m in ("structure", "dos")},
    )
    floor, beyond = (
        ClipSettings()(two, two, 0, torch.tensor([x], dtype=torch.float64))["structure|dos"]
        for x in (4.605170185988092, 9.0)  # ln 100, and colder than the floor
    )
    torch.testing.assert_close(beyond, floor, rtol=1e-12, atol=1e-12)


def test_mismatched_modalities_are_the_users_error():
    leaves, present = make_leaves(), make_present()
    everyone = Embeddings(leaves, present)
    with pytest.raises(UserError, match="aligns 2 modalities, not 3"):
        ClipSettings()(everyone, everyone, 0, torch.zeros(1))
