import copy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from omnimat.materials.record import Record
from omnimat.modalities.layout import Arrays
from omnimat.modalities.structure.augment import StructureAugmentation
from omnimat.modalities.structure.crystal_network import distinct
from omnimat.modalities.structure.features import CrystalGraph, LatticeSums
from omnimat.modalities.structure.potnet import PotNetSettings
from omnimat.modalities.structure.potnet_network import (
    PotentialConv,
    PotNet,
    ordered_pairs,
    pair_potentials,
)
from omnimat.testing.encoder_conformance import as_double, trained
from omnimat.testing.materials import encoder_arrays, example_records
from omnimat.testing.published_graphs import in_published_form


def tiny(**changes: object) -> PotNet:
    return PotNet(PotNetSettings(preset="tiny", **changes), embedding_dim=8)


@pytest.mark.parametrize(
    ("where", "is_masked"), [("featurized", False), ("featurized", True), ("none", False)]
)
def test_it_equals_its_published_form(where: LatticeSums, is_masked: bool) -> None:
    settings = PotNetSettings(preset="tiny", lattice_sums=where != "none")
    ours = settings.build(8).double()
    published = in_published_form(copy.deepcopy(ours))
    arrays = as_double(encoder_arrays(example_records(), CrystalGraph(lattice_sums=where)))
    vectors = arrays["edge_vectors_angstrom"]
    if is_masked:
        vectors[::7] = 0  # of most edges, one direction alone
    assert len(ours.local_edges(vectors)[0]) < len(published.local_edges(vectors)[0]) / 2
    torch.testing.assert_close(*(trained(one, arrays) for one in (ours, published)))


def test_the_split_weights_start_like_the_whole_layer() -> None:
    conv, whole = PotentialConv(64), torch.nn.Linear(192, 128)
    for linear in (conv.from_target, conv.from_source, conv.from_edge):
        largest = float(linear.weight.detach().abs().max())
        assert 0.99 < largest / float(whole.weight.detach().abs().max()) < 1.01


def test_ordered_pairs_by_hand() -> None:
    sizes = [3, 1, 0, 2]
    index, stored = ordered_pairs(torch.tensor(sizes), sum(n * n for n in sizes))
    expected, first_atom, first_pair = [], 0, 0
    for n in sizes:
        triangle = {}
        for i in range(n):
            for j in range(i, n):
                triangle[i, j] = triangle[j, i] = first_pair + len(set(triangle.values()))
        expected += [
            (first_atom + j, first_atom + i, triangle[i, j]) for i in range(n) for j in range(n)
        ]
        first_atom, first_pair = first_atom + n, first_pair + n * (n + 1) // 2
    assert [*zip(*index.tolist(), stored.tolist(), strict=True)] == expected


def test_edges_by_hand() -> None:
    net = tiny()
    d, centres = 2.5, torch.linspace(-4, 4, 64)
    spacing = 8 / 63
    basis = torch.exp(-(((-0.75 / d - centres) / spacing) ** 2))
    features, rows = net.local_edges(torch.tensor([[0.0, d, 0.0], [-d, 0.0, 0.0]]))
    torch.testing.assert_close(features, F.silu(net.local_edges.linear(basis))[None])
    assert rows.tolist() == [0, 0]

    potentials = torch.tensor([[-1.0451499, 0.0162252, 1.0011]])
    f = -0.801 * -1.0451499 - 0.074 * 0.0162252 + 0.145 * 1.0011
    centres, spacing = torch.linspace(-4, 4, 16), 8 / 15
    basis = torch.sqrt(1 + ((f - centres) / spacing) ** 2)
    infinite, pairs = net.infinite_edges, torch.tensor([0, 0, 0])
    assert infinite is not None
    expected = infinite.norm.eval()(F.softplus(infinite.linear(basis))[None])
    features, rows = infinite(potentials, pairs)
    torch.testing.assert_close(features, expected)
    assert rows.tolist() == [0, 0, 0]


def test_no_gpu_is_asked_how_many_edges_differ() -> None:
    values = torch.empty(5, device="meta")  # which cannot tell
    same, rows = distinct(values)
    assert same is values
    assert rows.shape == (5,)


class Moved(CrystalGraph):
    """The graph of a crystal after an augmentation, which is the same each time."""

    def __call__(self, record: Record) -> Arrays:
        graph = CrystalGraph(**self.model_dump())
        return StructureAugmentation().view(record, graph, np.random.default_rng(7))


@pytest.mark.parametrize("graph", [CrystalGraph, Moved])
@pytest.mark.parametrize("scaling", ["exact", "reference"])
def test_it_sums_what_the_featurizer_would(graph: type[CrystalGraph], scaling: Any) -> None:
    def potentials_and_embeddings(where: LatticeSums) -> tuple[Tensor, Tensor]:
        featurizer = graph(lattice_sums=where, pauli_scaling=scaling)
        arrays = encoder_arrays(example_records()[:6], featurizer)
        return pair_potentials(arrays, arrays["num_atoms"]), net(arrays)

    net = tiny().eval()
    given = potentials_and_embeddings("featurized")
    summed = potentials_and_embeddings("in_encoder")
    assert given[0].dtype == summed[0].dtype == torch.float32
    # Both are sums that differ by 1e-10, rounded to float32.
    torch.testing.assert_close(summed, given, rtol=1e-6, atol=1e-7)
