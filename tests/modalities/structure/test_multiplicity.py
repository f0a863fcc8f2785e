import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from omnimat.materials.record import Record
from omnimat.materials.record import Structure as RecordStructure
from omnimat.modalities.structure.augment import StructureAugmentation
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.structure.gated import GatedGraphSettings
from omnimat.modalities.structure.gated_network import GatedGraph
from omnimat.modalities.structure.multiplicity import site_multiplicity
from omnimat.testing.materials import encoder_arrays, example_records, repeated

GRAPH = CrystalGraph(
    neighbors="within_cutoff",
    cutoff_angstrom=8.0,
    max_neighbors=12,
    lattice_sums="none",
    multiplicity=True,
)
PEROVSKITE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.9), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
)


def test_it_is_the_same_in_every_cell(record_of):
    """In a doubled cell, no rotation takes all oxygen atoms to each other, but in the crystal."""
    structure = record_of(PEROVSKITE).structure
    np.testing.assert_allclose(site_multiplicity(structure), [0.2, 0.2, 0.6, 0.6, 0.6])
    doubled = repeated(structure)
    np.testing.assert_allclose(site_multiplicity(doubled), 2 * [0.2, 0.2, 0.6, 0.6, 0.6])
    left = RecordStructure(
        doubled.lattice_angstrom[::-1], doubled.atomic_numbers, doubled.frac_coords[:, ::-1]
    )
    np.testing.assert_allclose(site_multiplicity(left), 2 * [0.2, 0.2, 0.6, 0.6, 0.6])


def test_without_symmetry_every_atom_is_its_own(record_of, triclinic):
    np.testing.assert_allclose(site_multiplicity(record_of(triclinic).structure), np.full(5, 0.2))


def test_where_atoms_almost_coincide_there_is_no_symmetry_to_find():
    close = RecordStructure(
        4 * np.eye(3), np.array([14, 14], np.int32), np.array([[0, 0, 0], [0.01, 0, 0]])
    )
    with pytest.raises(ValueError, match="spglib finds no symmetry"):
        GRAPH(Record("close", {"structure": close}))


def test_a_view_keeps_the_symmetry_that_its_crystal_has(record_of):
    record = record_of(PEROVSKITE)
    view = StructureAugmentation().view(record, GRAPH, np.random.default_rng(0))
    plain = GRAPH(record)
    np.testing.assert_array_equal(view["site_multiplicity"], plain["site_multiplicity"])
    assert not np.array_equal(view["edge_vectors_angstrom"], plain["edge_vectors_angstrom"])


def test_the_network_begins_without_it_and_learns_it():
    nets = []
    for multiplicity in (False, True):
        torch.manual_seed(0)
        nets.append(GatedGraph(GatedGraphSettings(preset="tiny", multiplicity=multiplicity), 8))
    arrays = encoder_arrays(example_records()[:4], GRAPH)
    without, told = (net(arrays) for net in nets)
    torch.testing.assert_close(told, without, rtol=0, atol=0)
    told.square().sum().backward()
    assert float(nets[1].sites.weight.grad.abs().max()) > 0
