import copy

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from omnimat.materials.validation import shortest_distance_angstrom
from omnimat.modalities.batch import collate, feature_table
from omnimat.modalities.structure.augment import (
    StructureAugmentation,
    displace_atoms,
    strain_cell,
)
from omnimat.modalities.structure.features import CrystalGraph


@pytest.fixture
def skew(record_of):
    """A very skew cell, in which the nearest image is several cells away along one axis."""
    lattice = Lattice([[4.0, 0, 0], [11.8, 1.5, 0], [7.9, 2.2, 9.0]])
    return record_of(
        Structure(lattice, ["Na", "Cl"], [[0.1, 0.2, 0.9], [0.6, 0.95, 0.05]])
    ).structure


def test_atoms_move_in_all_directions_up_to_the_limit(record_of, nacl):
    structure = record_of(nacl).structure
    generator = np.random.default_rng(0)
    moves = np.concatenate(
        [
            (displace_atoms(structure, 0.5, generator).frac_coords - structure.frac_coords)
            @ structure.lattice_angstrom
            for _ in range(500)
        ]
    )
    lengths, limit = np.linalg.norm(moves, axis=1), 0.5 * 5.64 / 2
    assert lengths.max() < limit
    # With 4,000 draws, means are accurate to about 1 %.
    assert lengths.mean() == pytest.approx(limit / 2, rel=0.05)
    np.testing.assert_allclose(moves.mean(axis=0), 0, atol=0.05)


def test_displaced_atoms_never_meet(skew):
    generator = np.random.default_rng(1)
    for _ in range(50):
        moved = displace_atoms(skew, 0.5, generator)
        assert shortest_distance_angstrom(moved) > 0


def test_strain_lengthens_vectors_and_keeps_their_directions(skew):
    generator = np.random.default_rng(2)
    factors = []
    for _ in range(200):
        strained = strain_cell(skew, 0.05, generator)
        ratio = strained.lattice_angstrom @ np.linalg.inv(skew.lattice_angstrom)
        np.testing.assert_allclose(ratio, np.diag(np.diag(ratio)), atol=1e-12)
        np.testing.assert_array_equal(strained.frac_coords, skew.frac_coords)
        factors.append(np.diag(ratio))
    assert np.min(factors) >= 1
    assert 1.045 < np.max(factors) <= 1.05
    assert np.ptp(factors, axis=1).min() > 0  # each vector has its own factor


def test_masking_hides_the_given_part_and_nothing_else(record_of, nacl):
    graph = CrystalGraph(lattice_sums="none")(record_of(nacl))
    augmentation = StructureAugmentation(masked_atoms=0.25, masked_edges=0.1)
    masked = augmentation.masked(graph, np.random.default_rng(3))
    hidden = masked["atomic_numbers"] == 0
    assert hidden.sum() == 2
    kept = graph["atomic_numbers"][~hidden]
    np.testing.assert_array_equal(masked["atomic_numbers"][~hidden], kept)
    cut = ~masked["edge_vectors_angstrom"].any(axis=1)
    assert cut.sum() == round(0.1 * len(cut))
    assert {name: a.dtype for name, a in masked.items()} == {n: a.dtype for n, a in graph.items()}
    assert masked["edge_sources"] is graph["edge_sources"]


def test_views_are_reproducible_independent_and_leave_the_input_alone(record_of, triclinic):
    structure = record_of(triclinic).structure
    before = copy.deepcopy(structure)
    augmentation = StructureAugmentation(masked_atoms=0.4)
    generator = np.random.default_rng(4)
    first, second = (augmentation.moved(structure, generator) for _ in range(2))
    again = augmentation.moved(structure, np.random.default_rng(4))
    np.testing.assert_array_equal(first.frac_coords, again.frac_coords)
    np.testing.assert_array_equal(first.lattice_angstrom, again.lattice_angstrom)
    assert (first.frac_coords != second.frac_coords).any()
    np.testing.assert_array_equal(structure.frac_coords, before.frac_coords)
    np.testing.assert_array_equal(structure.lattice_angstrom, before.lattice_angstrom)


def test_no_strength_changes_nothing(record_of, triclinic):
    structure = record_of(triclinic).structure
    none = StructureAugmentation(displacement=0, strain=0)
    same = none.moved(structure, np.random.default_rng(5))
    np.testing.assert_array_equal(same.frac_coords, structure.frac_coords)
    np.testing.assert_array_equal(same.lattice_angstrom, structure.lattice_angstrom)
    graph = CrystalGraph(lattice_sums="none")(record_of(triclinic))
    for name, values in none.masked(graph, np.random.default_rng(6)).items():
        np.testing.assert_array_equal(values, graph[name])


STORED = CrystalGraph(
    neighbors="within_cutoff", max_neighbors=8, lattice_sums="none", reduced_lattice=True
)


def stored_graphs(record_of, structures):
    records = [record_of(one) for one in structures]
    batch = collate(feature_table(records, {"structure": STORED}), {"structure": STORED})
    return batch.modalities["structure"].arrays


def generators(*seeds):
    return [np.random.default_rng(seed) for seed in seeds]


def test_a_stored_graph_varies_as_its_crystal_does(record_of, nacl):
    halves = 2.715 * (1 - np.eye(3))
    si = Structure(Lattice(halves), ["Si"] * 2, [[0] * 3, [0.25] * 3])
    arrays = stored_graphs(record_of, [nacl, si])
    before = copy.deepcopy(arrays)
    varied = StructureAugmentation(displacement=0.1, strain=0.05).vary(
        arrays, STORED, generators(1, 2)
    )
    for name, values in before.items():
        np.testing.assert_array_equal(arrays[name], values)  # what is stored is as it was
        assert varied[name].dtype == values.dtype
    for name in ("edge_sources", "edge_targets", "num_atoms", "atomic_numbers"):
        np.testing.assert_array_equal(varied[name], before[name])
    # Both crystals are stretched alone, and each edge ends where its atom has moved.
    firsts = np.concatenate([[0], np.cumsum(before["num_edges"])])
    for i, cell in enumerate(before["reduced_lattice_angstrom"].astype(np.float64)):
        stretch = np.linalg.solve(cell, varied["reduced_lattice_angstrom"][i])
        np.testing.assert_allclose(stretch, stretch.T, atol=1e-6)  # float32 cells
        factors = np.linalg.eigvalsh(stretch)
        assert 1 - 1e-6 <= factors.min() < factors.max() <= 1.05 + 1e-6
        edges = slice(firsts[i], firsts[i + 1])
        moved = np.linalg.solve(stretch.T, varied["edge_vectors_angstrom"][edges].T).T
        shifts = moved - before["edge_vectors_angstrom"][edges]
        ends = before["edge_targets"][edges] - before["edge_sources"][edges]
        np.testing.assert_allclose(shifts[ends == 0], 0, atol=1e-5)  # an atom and its image
        lengths = np.linalg.norm(before["edge_vectors_angstrom"][edges], axis=1)
        assert 0 < np.abs(shifts).max() <= 0.2 * lengths.min()


def test_a_stored_graph_without_strength_stays_as_it_is(record_of, nacl):
    arrays = stored_graphs(record_of, [nacl])
    varied = StructureAugmentation(displacement=0, strain=0).vary(arrays, STORED, generators(1))
    for name, values in arrays.items():
        np.testing.assert_allclose(varied[name], values, atol=1e-6)  # rounding of float32


def test_parts_of_a_stored_graph_are_hidden(record_of, nacl):
    arrays = stored_graphs(record_of, [nacl, nacl])
    hiding = StructureAugmentation(displacement=0, strain=0, masked_atoms=0.5, masked_edges=0.25)
    varied = hiding.vary(arrays, STORED, generators(1, 2))
    hidden = (varied["atomic_numbers"] == 0).reshape(2, -1)
    np.testing.assert_array_equal(hidden.sum(axis=1), [4, 4])
    cut = (varied["edge_vectors_angstrom"] == 0).all(axis=1)
    assert cut.sum() == 2 * round(0.25 * arrays["num_edges"][0])


def test_stored_lattice_sums_cannot_vary():
    with pytest.raises(ValueError, match="lattice_sums to none"):
        StructureAugmentation().check_stored(CrystalGraph())
