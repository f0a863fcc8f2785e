import itertools

import pytest
import torch
from scipy.special import eval_legendre
from torch import Tensor

from omnimat.modalities.structure.gated import GatedGraphSettings
from omnimat.modalities.structure.gated_network import GatedGraph, envelope
from omnimat.modalities.structure.gated_sum import gated_sum
from omnimat.modalities.structure.legendre import harmonics, legendre_sums
from omnimat.testing.encoder_conformance import as_double
from omnimat.testing.materials import encoder_arrays, example_records, featurizer_for

SETTINGS = GatedGraphSettings(preset="tiny")


def pairwise_sums(
    parts: Tensor, directions: Tensor, index: Tensor, num_atoms: int, max_degree: int
) -> Tensor:
    """The slow twin of ``legendre_sums``: every edge with every edge at its ends."""
    del num_atoms
    rows = []
    for edge, (source, target) in enumerate(index.T.tolist()):
        ends = []
        for atom, along in ((source, directions[edge]), (target, -directions[edge])):
            there = torch.nonzero(index[0] == atom)[:, 0]
            cosines = directions[there] @ along
            for degree in range(max_degree + 1):
                ends.append((parts[there] * legendre(degree, cosines)[:, None]).sum(0))
        rows.append(torch.cat(ends))
    return torch.stack(rows)


def legendre(degree: int, x: Tensor) -> Tensor:
    return (torch.ones_like(x), x, (3 * x**2 - 1) / 2, (5 * x**3 - 3 * x) / 2)[degree]


@pytest.mark.parametrize("max_degree", [1, 2, 3])
def test_sums_of_harmonics_are_sums_over_all_pairs_of_edges(max_degree: int) -> None:
    arrays = as_double(encoder_arrays(example_records()[:3], featurizer_for(SETTINGS)))
    index = torch.stack([arrays["edge_sources"], arrays["edge_targets"]]).long()[:, :150]
    vectors = arrays["edge_vectors_angstrom"][:150]
    generator = torch.Generator().manual_seed(0)
    values, gradients = [], []
    for sums in (legendre_sums, pairwise_sums):
        parts = torch.randn(150, 3, generator=generator.manual_seed(0), dtype=torch.float64)
        moved = vectors.clone().requires_grad_()
        directions = moved / moved.norm(dim=-1, keepdim=True)
        parts.requires_grad_()
        num_atoms = int(index.max()) + 1
        found = sums(parts, directions, index, num_atoms, max_degree)
        found = found.view(150, 2, max_degree + 1, 3)
        found.sin().sum().backward()
        values.append(found.detach())
        gradients += [parts.grad, moved.grad]
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(gradients[0], gradients[2])
    torch.testing.assert_close(gradients[1], gradients[3])


def test_products_of_harmonics_are_legendre_polynomials() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.nn.functional.normalize(
        torch.randn(2, 50, 3, generator=generator, dtype=torch.float64), dim=-1
    )
    products = harmonics(one, 3) * harmonics(other, 3)
    cosines = (one * other).sum(-1).numpy()
    for degree, part in enumerate(products.split([1, 3, 5, 7], dim=-1)):
        expected = torch.from_numpy(eval_legendre(degree, cosines))
        torch.testing.assert_close(part.sum(-1), expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_gated_sum_equals_that_of_autograd(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    centers = torch.randint(0, 5, (40,), generator=generator)
    found = []
    for fast in (True, False):
        generator.manual_seed(1)
        joint = torch.randn(40, 6, generator=generator).to(dtype).requires_grad_()
        weights = torch.rand(40, 1, generator=generator).to(dtype).requires_grad_()
        if fast:
            sums = gated_sum(joint, weights, centers, 6)
        else:
            gates, contents = joint.chunk(2, dim=-1)
            messages = torch.sigmoid(gates) * torch.nn.functional.silu(contents) * weights
            sums = messages.new_zeros(6, 3).index_add(0, centers, messages)
        sums.double().sin().sum().backward()
        found.append((sums.detach(), joint.grad, weights.grad))
    # In bfloat16, of 8 significant bits, autograd adds the eight messages of an atom in bfloat16.
    tolerances = {} if dtype == torch.float64 else {"rtol": 0.05, "atol": 0.05}
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **tolerances)


def test_the_envelope_and_two_of_its_derivatives_vanish_at_the_cutoff() -> None:
    x = torch.tensor(1 - 1e-12, dtype=torch.float64, requires_grad=True)
    value = envelope(x)
    (slope,) = torch.autograd.grad(value, x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, x)
    for one in (value.detach(), slope.detach(), curvature):
        # The curvature falls linearly to 0 with a slope of 60.
        assert abs(float(one)) < 1e-10
    assert float(envelope(torch.tensor(0.0))) == 1
    assert float(envelope(torch.tensor(1.5))) == 0


def test_it_tells_angles_apart_where_distances_are_equal() -> None:
    """Four neighbours at one distance, in a square or in a tetrahedron."""
    square = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]])
    tetrahedron = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    embeddings = {}
    for num_densities, (name, outward) in itertools.product(
        (0, 4), (("square", square), ("tetrahedron", tetrahedron))
    ):
        torch.manual_seed(0)
        net = GatedGraph(SETTINGS.model_copy(update={"num_densities": num_densities}), 8).double()
        centers, around = torch.zeros(4, dtype=torch.int64), torch.arange(1, 5)
        embeddings[num_densities, name] = net(
            {
                "atomic_numbers": torch.tensor([6, 1, 1, 1, 1]),
                "edge_sources": torch.cat([centers, around]),
                "edge_targets": torch.cat([around, centers]),
                "edge_vectors_angstrom": torch.cat([outward, -outward]).double(),
                "num_atoms": torch.tensor([5]),
            }
        ).detach()
    torch.testing.assert_close(embeddings[0, "square"], embeddings[0, "tetrahedron"])
    assert float((embeddings[4, "square"] - embeddings[4, "tetrahedron"]).norm()) > 1e-4


@pytest.mark.parametrize("lattice", ["edges", "cell"])
def test_of_equally_long_lattice_vectors_the_order_and_sign_are_free(lattice: str) -> None:
    """A body-centred tetragonal crystal has three shortest vectors of one length."""
    torch.manual_seed(0)
    settings = GatedGraphSettings(preset="tiny", lattice=lattice)
    net = GatedGraph(settings, 8).double()
    arrays = as_double(encoder_arrays(example_records()[:1], featurizer_for(SETTINGS)))
    cell = torch.tensor([[-1.5, 1.5, 2.5], [1.5, -1.5, 2.5], [1.5, 1.5, -2.5]], dtype=torch.float64)
    reversed_two = cell * torch.tensor([[1.0], [-1], [-1]])
    expected, *others = (
        net(arrays | {"reduced_lattice_angstrom": one[None]})
        for one in (cell, cell.roll(1, dims=0), cell.flip(0), reversed_two)
    )
    for other in others:
        torch.testing.assert_close(other, expected)
    longer = net(arrays | {"reduced_lattice_angstrom": 1.1 * cell[None]})
    assert float((longer - expected).detach().norm()) > 1e-4


def test_cells_of_acute_and_obtuse_angles_are_told_apart() -> None:
    """Of 80 and 100 degrees, which differ by the sign of their cosines alone."""
    torch.manual_seed(0)
    net = GatedGraph(GatedGraphSettings(preset="tiny", lattice="cell"), 8).double()
    arrays = as_double(encoder_arrays(example_records()[:1], featurizer_for(SETTINGS)))
    embeddings = []
    for cosine in (0.17, -0.17):
        metric = torch.full((3, 3), 16 * cosine, dtype=torch.float64).fill_diagonal_(16)
        cell = torch.linalg.cholesky(metric)[None]
        embeddings.append(net(arrays | {"reduced_lattice_angstrom": cell}).detach())
    assert float((embeddings[0] - embeddings[1]).norm()) > 1e-4
