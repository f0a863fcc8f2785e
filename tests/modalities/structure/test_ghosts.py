from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.structure.gated import GatedGraphSettings, LatticeUse
from omnimat.modalities.structure.gated_network import GatedGraph
from omnimat.modalities.structure.ghosts import with_ghosts
from omnimat.nn.precision import fast_products
from omnimat.testing.encoder_conformance import as_double
from omnimat.testing.materials import encoder_arrays, example_records

GRAPH = CrystalGraph(
    neighbors="within_cutoff",
    cutoff_angstrom=8.0,
    max_neighbors=12,
    lattice_sums="none",
    reduced_lattice=True,
    multiplicity=True,
)


@pytest.mark.parametrize("pool", ["mean", "sum"])
@pytest.mark.parametrize("lattice", ["none", "edges", "cell"])
def test_ghosts_change_neither_embeddings_nor_gradients(lattice: LatticeUse, pool: str) -> None:
    torch.manual_seed(0)
    settings = GatedGraphSettings.model_validate(
        {
            "type": "gated_graph",
            "preset": "tiny",
            "lattice": lattice,
            "pool": pool,
            "multiplicity": True,
        }
    )
    network = settings.build(16).double()
    assert isinstance(network, GatedGraph)
    assert network.sites is not None
    torch.nn.init.normal_(network.sites.weight)
    arrays = as_double(encoder_arrays(example_records(), GRAPH))
    assert len(with_ghosts(arrays)["edge_sources"]) > len(arrays["edge_sources"])
    found = []
    for is_fast in (True, False):  # which products in double precision leave as they are
        network.zero_grad()
        with fast_products(is_fast):
            embedded = network(arrays)
        embedded.sin().sum().backward()
        found.append((embedded, [one.grad for one in network.parameters()]))
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("is_autocast", [False, True])
@pytest.mark.parametrize("is_fast", [False, True])
def test_ghosts_come_where_products_are_reduced(
    is_fast: bool, is_autocast: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    states = GatedGraph.atom_states

    def noted(network: GatedGraph, arrays: Mapping[str, Tensor]) -> Tensor:
        sizes.append(len(arrays["num_atoms"]))
        return states(network, arrays)

    monkeypatch.setattr(GatedGraph, "atom_states", noted)
    network = GatedGraphSettings(preset="tiny").build(16).to(dtype)
    arrays = encoder_arrays(example_records()[:2], GRAPH)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=is_autocast)
    with fast_products(is_fast), autocast, torch.no_grad():
        assert len(network(arrays)) == 2
    is_reduced = is_fast or is_autocast or dtype == torch.bfloat16
    assert sizes == [3 if is_reduced else 2]


def test_batches_have_few_sizes_which_are_little_larger() -> None:
    sizes = set()
    for num_atoms in range(1, 1025):
        arrays = {
            "atomic_numbers": torch.ones(num_atoms, dtype=torch.uint8),
            "edge_sources": torch.zeros(12 * num_atoms, dtype=torch.int32),
            "edge_targets": torch.zeros(12 * num_atoms, dtype=torch.int32),
            "edge_vectors_angstrom": torch.ones(12 * num_atoms, 3),
            "num_atoms": torch.tensor([num_atoms]),
        }
        padded = with_ghosts(arrays)
        size = len(padded["atomic_numbers"])
        assert num_atoms < size <= num_atoms + 1 + num_atoms / 32
        assert int(padded["num_atoms"].sum()) == size
        assert padded["atomic_numbers"].dtype == torch.uint8
        sizes.add(size)
    assert len(sizes) <= 64 + 4 * 32 + 1  # all up to 64, and four octaves, and what is above them
