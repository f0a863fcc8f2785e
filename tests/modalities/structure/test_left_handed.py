"""A crystal in a left-handed cell has the features of the same crystal in a right-handed one."""

import numpy as np
import pytest
from pymatgen.core import Lattice
from pymatgen.core import Structure as Crystal

from omnimat.materials.crystals import (
    from_pymatgen,
    niggli_reduced,
    symmetry_properties,
    to_pymatgen,
)
from omnimat.materials.record import Record, Structure
from omnimat.materials.validation import shortest_distance_angstrom, validate
from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.modalities.structure.augment import displace_atoms
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.structure.lattice_sums import lattice_sums
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.sources.surrogates import charge_density, density_of_states

SWAPPED = [1, 0, 2]


def left_handed(structure):
    """Swap two axes; atoms stay where they are in space."""
    return Structure(
        structure.lattice_angstrom[SWAPPED],
        structure.atomic_numbers,
        structure.frac_coords[:, SWAPPED],
    )


@pytest.fixture
def right():
    """A skewed cell of a chiral crystal."""
    rng = np.random.default_rng(1)
    lattice = 5 * np.eye(3) + rng.uniform(-0.7, 0.7, (3, 3))
    coords = np.array([[0, 0, 0], [0.4, 0.1, 0.2], [0.2, 0.6, 0.3], [0.7, 0.5, 0.8]])
    return Structure(lattice, np.array([8, 14, 26, 57], np.int32), coords)


def sorted_edges(arrays):
    rows = np.column_stack(
        [arrays["edge_sources"], arrays["edge_targets"], arrays["edge_vectors_angstrom"].round(4)]
    )
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize(
    "graph",
    [
        {},
        {"neighbors": "within_cutoff", "cutoff_angstrom": 5.0},
        {"neighbors": "voronoi", "max_neighbors": None},
    ],
)
def test_graphs_and_lattice_sums(right, graph):
    left = left_handed(right)
    validate(left)
    assert np.linalg.det(left.lattice_angstrom) < 0
    ours, theirs = (CrystalGraph(**graph).of_structure(one) for one in (left, right))
    np.testing.assert_allclose(sorted_edges(ours), sorted_edges(theirs), atol=2e-4)
    # The sums are converged to 1e-8 each.
    sums = [lattice_sums(one.lattice_angstrom, one.frac_coords) for one in (left, right)]
    np.testing.assert_allclose(*sums, atol=1e-7)


def test_distances_and_displacements(right):
    left = left_handed(right)
    assert shortest_distance_angstrom(left) == pytest.approx(shortest_distance_angstrom(right))
    places = []
    for one in (left, right):
        moved = displace_atoms(one, 0.4, np.random.default_rng(0))
        places.append(moved.frac_coords @ moved.lattice_angstrom)
    np.testing.assert_allclose(*places, atol=1e-9)


def test_patterns(right):
    curves = [XrdPattern()(Record("a", {"structure": s})) for s in (left_handed(right), right)]
    np.testing.assert_allclose(curves[0]["intensity"], curves[1]["intensity"], atol=1e-3)


def test_charge_densities_and_surrogates(right):
    left = left_handed(right)
    grids = [charge_density(one) for one in (left, right)]
    np.testing.assert_allclose(
        grids[0].transpose(SWAPPED), grids[1], atol=1e-4 * float(grids[1].max())
    )
    seen = [
        ChargeDensityGrid()(Record("a", {"structure": s, "charge_density": grid}))["density"]
        for s, grid in zip((left, right), grids, strict=True)
    ]
    np.testing.assert_allclose(seen[0].transpose(SWAPPED), seen[1], atol=1e-4)
    curves = [density_of_states(one).spin_up_per_ev for one in (left, right)]
    np.testing.assert_allclose(*curves, atol=1e-4)


@pytest.mark.parametrize(("group", "sign"), [(152, 1), (154, -1)])
def test_the_hand_of_quartz_is_kept(group, sign):
    """P3_1 21 and P3_2 21 are mirror images: the hand of the cell is not that of the crystal."""
    lattice = Lattice.hexagonal(4.916, 5.4054)
    places = [[0.4697, 0, sign / 3 % 1], [0.4135, 0.2669, sign * 0.2144 % 1]]
    quartz = Crystal.from_spacegroup(group, lattice, ["Si", "O"], places)
    left = to_pymatgen(left_handed(from_pymatgen(quartz)))
    assert left.lattice.matrix[0] @ np.cross(*left.lattice.matrix[1:]) < 0
    reduced = to_pymatgen(niggli_reduced(from_pymatgen(left)))
    for one in (quartz, left, reduced):
        assert symmetry_properties(one)["space_group_number"] == group


def test_caesium_chloride():
    cell = Crystal([[0, 4.12, 0], [4.12, 0, 0], [0, 0, 4.12]], ["Cs", "Cl"], [[0] * 3, [0.5] * 3])
    assert cell.volume == pytest.approx(69.93, abs=0.01)
    assert symmetry_properties(cell)["space_group_number"] == 221


def test_too_many_atoms_for_sums():
    structure = Structure(
        9 * np.eye(3), np.full(8, 14, np.int32), np.indices((2, 2, 2)).reshape(3, -1).T / 2
    )
    with pytest.raises(ValueError, match=r"8 atoms.* max_atoms is 7"):
        CrystalGraph(max_atoms=7).of_structure(structure)
    CrystalGraph(max_atoms=7, lattice_sums="none").of_structure(structure)
    CrystalGraph(max_atoms=8).of_structure(structure)
