import numpy as np
import torch
from pymatgen.core import Lattice, Structure
from torch import Tensor

from omnimat.materials.crystals import from_pymatgen
from omnimat.materials.record import Record
from omnimat.modalities.structure import dimenetpp_network
from omnimat.modalities.structure.dimenetpp import DimeNetPlusPlusSettings
from omnimat.modalities.structure.dimenetpp_network import (
    DimeNetPlusPlus,
    are_reverse,
    joined_edges,
)
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.testing.encoder_conformance import as_double
from omnimat.testing.materials import encoder_arrays, example_records, featurizer_for

SETTINGS = DimeNetPlusPlusSettings(preset="tiny")


def rock_salt() -> Record:
    cell = 5.64 / 2 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
    crystal = Structure(Lattice(cell), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return Record("NaCl", {"structure": from_pymatgen(crystal)})


def graph(record: Record) -> tuple[Tensor, Tensor, int]:
    featurizer = CrystalGraph(
        neighbors="within_cutoff", cutoff_angstrom=5, max_neighbors=None, lattice_sums="none"
    )
    arrays = encoder_arrays([record], featurizer)
    index = torch.stack([arrays["edge_sources"], arrays["edge_targets"]]).long()
    return index, arrays["edge_vectors_angstrom"], len(arrays["atomic_numbers"])


def triplets(index: Tensor, vectors: Tensor, num_atoms: int) -> Tensor:
    """Cut out the pairs of edges that the network counts for nothing."""
    pairs = joined_edges(index, num_atoms)
    return pairs[:, ~are_reverse(index, vectors, pairs)]


def test_rock_salt_has_1300_triplets() -> None:
    index, vectors, num_atoms = graph(rock_salt())
    assert index.shape == (2, 52)
    incoming, outgoing = triplets(index, vectors, num_atoms)
    assert len(incoming) == 1300
    # For molecules, every triplet that ends at the atom where it began would be left out.
    assert int((index[0, incoming] != index[1, outgoing]).sum()) == 672


def test_triplets_by_hand() -> None:
    index, vectors, num_atoms = graph(example_records()[2])
    edges = list(zip(*index.tolist(), vectors.tolist(), strict=True))
    expected = {
        (k, j)
        for j, (source, target, vector) in enumerate(edges)
        for k, (other_source, other_target, other) in enumerate(edges)
        if other_target == source
        and not (other_source == target and np.allclose(np.add(vector, other), 0, atol=1e-4))
    }
    given = triplets(index, vectors, num_atoms).T.tolist()
    assert len(given) == len(expected)
    assert {tuple(pair) for pair in given} == expected


def test_a_reverse_edge_counts_as_if_it_were_left_out(monkeypatch) -> None:
    """The network gives it a basis of zero, so that a GPU need not say how many there are."""
    torch.manual_seed(0)
    net = DimeNetPlusPlus(SETTINGS, 8).double()
    arrays = as_double(encoder_arrays(example_records()[:3], featurizer_for(SETTINGS)))
    masked = net(arrays)
    gradients = torch.autograd.grad(masked.square().sum(), list(net.parameters()))
    vectors = arrays["edge_vectors_angstrom"]
    monkeypatch.setattr(
        dimenetpp_network,
        "joined_edges",
        lambda index, num_atoms, _: triplets(index, vectors, num_atoms),
    )
    cut = net(arrays)
    torch.testing.assert_close(masked, cut)
    expected = torch.autograd.grad(cut.square().sum(), list(net.parameters()))
    torch.testing.assert_close(gradients, expected)


def test_without_edges_there_are_no_triplets() -> None:
    none = torch.zeros(2, 0, dtype=torch.int64)
    assert triplets(none, torch.zeros(0, 3), 3).shape == (2, 0)


def test_collating_tells_how_many_edges_meet() -> None:
    arrays = encoder_arrays(example_records()[:5], featurizer_for(SETTINGS))
    index = torch.stack([arrays["edge_sources"], arrays["edge_targets"]]).long()
    counted = joined_edges(index, len(arrays["atomic_numbers"]))
    assert arrays["joined_edges"].shape == (counted.shape[1], 0)


def test_edges_beyond_the_cutoff_count_for_nothing() -> None:
    net = DimeNetPlusPlus(SETTINGS, 8).double()
    records = example_records()[:3]
    near = featurizer_for(SETTINGS).model_copy(update={"max_neighbors": None})
    far = near.model_copy(update={"cutoff_angstrom": 5.8})
    fewer, more = encoder_arrays(records, near), encoder_arrays(records, far)
    assert len(more["edge_sources"]) > len(fewer["edge_sources"])
    torch.testing.assert_close(net(as_double(more)), net(as_double(fewer)))


def test_equals_torch_geometrics_where_no_triplet_is_disputed() -> None:
    """Run torch_geometric's modules on our graph; its own forward knows no periodic edges."""
    from torch_geometric.nn.models.dimenet import DimeNetPlusPlus as Stock

    settings = DimeNetPlusPlusSettings(preset="tiny", num_spherical=3, num_radial=2)
    ours = DimeNetPlusPlus(settings, 8).double()
    stock = Stock(
        hidden_channels=32,
        out_channels=8,
        num_blocks=2,
        int_emb_size=16,
        basis_emb_size=8,
        out_emb_channels=32,
        num_spherical=3,
        num_radial=2,
        cutoff=5.0,
    ).double()
    load_into(stock, ours)
    arrays = as_double(encoder_arrays(example_records()[:3], featurizer_for(settings)))
    torch.testing.assert_close(ours(arrays), stock_forward(stock, arrays))


def load_into(stock: torch.nn.Module, ours: DimeNetPlusPlus) -> None:
    """Copy our weights into the other model, in the order of its parameters."""
    embedding, sequence = ours.embedding, [ours.frequencies]
    sequence += [embedding.elements.weight[:95]]
    sequence += [*embedding.radial.parameters(), *embedding.joint.parameters()]
    for output in ours.outputs:
        sequence += [*output.radial.parameters(), *output.layers.parameters()]
    for block in ours.interactions:
        own = [*block.radial.parameters(), *block.spherical.parameters()]
        own += [*block.other.parameters(), *block.own.parameters()]
        own += [*block.down.parameters(), *block.up.parameters()]
        own += [*block.before_skip.parameters(), *block.skip.parameters()]
        sequence += [*own, *block.after_skip.parameters()]
    with torch.no_grad():
        for theirs, value in zip(stock.parameters(), sequence, strict=True):
            theirs.copy_(value)


def stock_forward(stock: torch.nn.Module, arrays: dict[str, Tensor]) -> Tensor:
    index = torch.stack([arrays["edge_sources"], arrays["edge_targets"]]).long()
    vectors, num_atoms = arrays["edge_vectors_angstrom"], len(arrays["atomic_numbers"])
    incoming, outgoing = triplets(index, vectors, num_atoms)
    lengths = vectors.norm(dim=1)
    cross = torch.linalg.cross(vectors[outgoing], vectors[incoming]).norm(dim=1)
    angles = torch.atan2(cross, (vectors[outgoing] * vectors[incoming]).sum(1))
    radial, spherical = stock.rbf(lengths), stock.sbf(lengths, angles, incoming)
    source, target = index
    edges = stock.emb(arrays["atomic_numbers"].long(), radial, target, source)
    atoms = stock.output_blocks[0](edges, radial, target, num_nodes=num_atoms)
    for block, output in zip(stock.interaction_blocks, stock.output_blocks[1:], strict=True):
        edges = block(edges, radial, spherical, incoming, outgoing)
        atoms = atoms + output(edges, radial, target, num_nodes=num_atoms)
    crystals = torch.repeat_interleave(arrays["num_atoms"])
    sums = torch.zeros(len(arrays["num_atoms"]), 8, dtype=atoms.dtype)
    return sums.index_add(0, crystals, atoms) / arrays["num_atoms"][:, None]
