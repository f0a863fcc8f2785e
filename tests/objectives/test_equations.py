"""Each objective against its printed equation, written out without care for memory or time."""

import itertools
import math

import pytest
import torch
from torch.nn import functional

from omnimat.objectives.all_pairs_clip import AllPairsClipSettings
from omnimat.objectives.barlow_twins import BarlowTwinsSettings
from omnimat.objectives.clac import ClacSettings
from omnimat.objectives.clip import ClipSettings
from omnimat.objectives.dcl import DclSettings
from omnimat.objectives.embeddings import Embeddings
from omnimat.objectives.siglip import SigLipSettings
from omnimat.objectives.tensor_clip import TensorClipSettings

FOUR = ("structure", "dos", "charge_density", "text")
NUM_ROWS, DIM = 7, 4
LOGIT_SCALE = torch.tensor([-math.log(0.3)], dtype=torch.float64, requires_grad=True)
TAU = torch.exp(-LOGIT_SCALE).squeeze()
# float64 sums in another order.
EXACT = {"rtol": 1e-11, "atol": 1e-12}


def make_leaves(modalities):
    generator = torch.Generator().manual_seed(5)
    shape = (len(modalities), NUM_ROWS, DIM)
    unit = functional.normalize(torch.randn(shape, dtype=torch.float64, generator=generator), dim=2)
    return {m: row.clone().requires_grad_() for m, row in zip(modalities, unit, strict=True)}


def shares_of(objective, leaves, logit_scale, present=None):
    """Compute the shares of one process, by name."""
    whole = {m: torch.ones(len(leaf), dtype=torch.bool) for m, leaf in leaves.items()}
    everyone = Embeddings(leaves, present or whole)
    return objective(everyone, everyone, 0, logit_scale)


def check(objective, expected, leaves, present=None):
    """Compare shares in value and gradient."""
    shares = shares_of(objective, leaves, LOGIT_SCALE, present)
    assert shares.keys() == expected.keys()
    inputs = [*leaves.values(), LOGIT_SCALE]
    how = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    for name, value in expected.items():
        torch.testing.assert_close(shares[name], value, **EXACT)
        ours, theirs = (torch.autograd.grad(x, inputs, **how) for x in (shares[name], value))
        torch.testing.assert_close(ours, theirs, **EXACT)


def clip_loss(a, b):
    logits = a @ b.T / TAU
    own = torch.arange(len(a))
    return (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2


def test_clip_of_the_rows_that_each_pair_has():
    leaves = make_leaves(FOUR[:3])
    present = {m: torch.arange(NUM_ROWS) != place for place, m in enumerate(leaves)}
    expected = {}
    for one, other in itertools.combinations(leaves, 2):
        valid = present[one] & present[other]
        expected[f"{one}|{other}"] = clip_loss(leaves[one][valid], leaves[other][valid])
    check(AllPairsClipSettings(), expected, leaves, present)


def test_dcl():
    leaves = make_leaves(FOUR[:2])
    a, b = leaves.values()
    expected = 0
    for i in range(NUM_ROWS):
        others = [j for j in range(NUM_ROWS) if j != i]
        for query, keys in ((a, b), (b, a)):
            denominator = sum(torch.exp(query[i] @ keys[j] / TAU) for j in others)
            expected -= torch.log(torch.exp(query[i] @ keys[i] / TAU) / denominator) / NUM_ROWS
    check(DclSettings(), {"structure|dos": expected}, leaves)


def test_dcl_of_two_rows_can_be_negative():
    leaves = {m: torch.eye(2, DIM, dtype=torch.float64) for m in FOUR[:2]}
    shares = shares_of(DclSettings(), leaves, torch.zeros(1))
    assert shares["structure|dos"].item() == pytest.approx(-2)


def test_siglip():
    leaves = make_leaves(FOUR[:2])
    a, b = leaves.values()
    expected = 0
    for i, j in itertools.product(range(NUM_ROWS), repeat=2):
        sign = 1 if i == j else -1
        logit = a[i] @ b[j] / TAU - 3
        expected -= torch.log(torch.sigmoid(sign * logit)) / NUM_ROWS
    check(SigLipSettings(bias=-3), {"structure|dos": expected}, leaves)


def test_tensor_clip_of_the_rows_that_all_three_have():
    modalities = FOUR[:3]
    leaves = make_leaves(modalities)
    present = {m: torch.arange(NUM_ROWS) != place for place, m in enumerate(modalities)}
    valid = list(range(3, NUM_ROWS))
    s = torch.einsum("id,jd,kd->ijk", *(leaf[valid] for leaf in leaves.values()))
    count, expected = len(valid), 0
    for axis in range(3):
        t = s.movedim(axis, 0)
        for i in range(count):
            cells = list(itertools.product(range(count), repeat=2))
            negatives = sum(torch.exp(t[i, j, k] / TAU) for j, k in cells if len({i, j, k}) == 3)
            for j, k in cells:
                target = {1: 1.0, 2: 0.5, 3: 0.0}[len({i, j, k})]
                expected += target * (torch.log(negatives) - t[i, j, k] / TAU) / count
    check(TensorClipSettings(), {"|".join(modalities): expected}, leaves, present)


TARGETS = {
    2: {(2,): 1.0, (1, 1): 0.0},
    3: {(3,): 1.0, (2, 1): 1 / 2, (1, 1, 1): 0.0},
    4: {(4,): 1.0, (3, 1): 1 / 2, (2, 2): 1 / 3, (2, 1, 1): 1 / 6, (1, 1, 1, 1): 0.0},
}


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("num_modalities", [2, 3, 4])
def test_barlow_twins(num_modalities, standardize):
    modalities = FOUR[:num_modalities]
    leaves = make_leaves(modalities)
    columns = list(leaves.values())
    if standardize:
        columns = [(z - z.mean(0)) / (z.var(0, correction=0) + 1e-8).sqrt() for z in columns]
    expected = 0
    for indices in itertools.product(range(DIM), repeat=num_modalities):
        factors = [z[:, i] for z, i in zip(columns, indices, strict=True)]
        correlation = torch.stack(factors).prod(0).mean()
        shape = tuple(sorted((indices.count(i) for i in set(indices)), reverse=True))
        weight = 1 if shape == (num_modalities,) else 0.0051
        expected += weight * (correlation - TARGETS[num_modalities][shape]) ** 2
    objective = BarlowTwinsSettings(standardize=standardize)
    # Small gradients of large sums: float64 rounding relative to the largest.
    check(objective, {"|".join(modalities): expected}, leaves)


@pytest.mark.parametrize("projectors", [True, False])
def test_clac_takes_adjacent_rows_for_the_views_of_a_material(projectors):
    generator = torch.Generator().manual_seed(9)
    # Rows are views of 5 materials; the heads across and within modalities.
    shape = (2, 10, 2, DIM) if projectors else (2, 10, DIM)
    values = torch.randn(shape, dtype=torch.float64, generator=generator)
    leaves = {m: v.clone().requires_grad_() for m, v in zip(FOUR[::3], values, strict=True)}
    (g1, g2, h1, h2), (t1, t2, u1, u2) = (
        [leaf[view::2, head] if projectors else leaf[view::2] for head in (0, 1) for view in (0, 1)]
        for leaf in leaves.values()
    )
    expected = {
        "structure|text": clip_loss(g1, t1),
        "structure'|text": clip_loss(g2, t1),
        "structure|text'": clip_loss(g1, t2),
        "structure'|text'": clip_loss(g2, t2),
        "structure|structure'": clip_loss(h1, h2),
        "text|text'": clip_loss(u1, u2),
    }
    check(ClacSettings(projectors=projectors), expected, leaves)


def test_the_same_input_gives_the_same_bits():
    leaves = {m: leaf.float() for m, leaf in make_leaves(FOUR[:3]).items()}
    runs = [shares_of(AllPairsClipSettings(), leaves, torch.ones(1)) for _ in range(3)]
    assert runs[0] == runs[1] == runs[2]


def test_clip_uses_the_temperature_floor():
    floor, beyond = (
        shares_of(ClipSettings(), make_leaves(FOUR[:2]), torch.tensor([x], dtype=torch.float64))
        for x in (4.605170185988092, 9.0)  # ln 100, and colder than the floor
    )
    torch.testing.assert_close(beyond, floor, rtol=1e-12, atol=1e-12)


def test_clac_refuses_half_a_material():
    with pytest.raises(ValueError, match="even number of rows"):
        shares_of(ClacSettings(), make_leaves(("structure", "text")), torch.zeros(1))


def test_clac_refuses_embeddings_without_its_heads():
    leaves = {m: torch.ones(4, DIM) for m in ("structure", "text")}
    with pytest.raises(ValueError, match="no embeddings of 2 heads"):
        shares_of(ClacSettings(), leaves, torch.zeros(1))
