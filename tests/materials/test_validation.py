import itertools

import numpy as np
import pytest

from omnimat.materials.record import Structure
from omnimat.materials.validation import shortest_distance_angstrom, validate

CUBE = 4.0 * np.eye(3)


def make(lattice=CUBE, numbers=(11, 17), coords=((0, 0, 0), (0.5, 0.5, 0.5))):
    return Structure(
        np.array(lattice, dtype=np.float64),
        np.array(numbers, dtype=np.int32),
        np.array(coords, dtype=np.float64),
    )


def test_a_sound_structure_passes():
    validate(make())


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        (make(numbers=(), coords=np.empty((0, 3))), "no atoms"),
        (make(numbers=(11,)), "lengths differ"),
        (make(lattice=np.eye(2)), r"shape \(2, 2\)"),
        (make(lattice=CUBE * np.nan), "not finite"),
        (make(coords=((0, 0, np.inf), (0.5, 0.5, 0.5))), "not finite"),
        (make(numbers=(0, 17)), r"outside 1\.\.118"),
        (make(numbers=(11, 119)), r"outside 1\.\.118"),
        (make(lattice=[[4, 0, 0], [8, 0, 0], [0, 0, 4]]), "degenerate cell"),
        (make(lattice=1e200 * np.eye(3)), "impossible cell"),
        (make(coords=((0, 0, 0), (0.99, 0, 0.01))), "overlapping atoms: 0.057 angstrom"),
        (make(coords=((0.25, 0, 0), (0.25, 1, 0))), "overlapping atoms: 0.000 angstrom"),
        (make(lattice=np.diag([0.4, 4, 4]), numbers=(1,), coords=((0, 0, 0),)), "0.400 angstrom"),
        (make(np.diag([0.01, 0.01, 1e3]), (1,), ((0, 0, 0),)), "0.010 angstrom"),
    ],
)
def test_reasons(structure, reason):
    with pytest.raises(ValueError, match=reason):
        validate(structure)


def test_a_left_handed_cell_is_a_crystal():
    cell = make([[0, 4.12, 0], [4.12, 0, 0], [0, 0, 4.12]], (55, 17))
    validate(cell)
    assert shortest_distance_angstrom(cell) == pytest.approx(4.12 * np.sqrt(3) / 2)


def brute_force(structure, reach=8):
    images = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    coords = structure.frac_coords
    shortest = np.inf
    for i, j in itertools.product(range(len(coords)), repeat=2):
        vectors = (coords[j] - coords[i] + images) @ structure.lattice_angstrom
        lengths = np.linalg.norm(vectors, axis=1)
        if i == j:
            lengths = lengths[images.any(axis=1)]
        shortest = min(shortest, lengths.min())
    return shortest


@pytest.mark.parametrize("seed", range(20))
def test_shortest_distance_equals_brute_force_in_skewed_cells(seed):
    rng = np.random.default_rng(seed)
    shear = np.eye(3)
    shear[1, 0], shear[2, 0], shear[2, 1] = rng.uniform(-3, 3, 3)
    lattice = shear @ np.diag(rng.uniform(0.8, 4, 3))
    structure = make(lattice, [6] * 4, rng.uniform(-1, 2, (4, 3)))
    expected = brute_force(structure)
    for cutoff_angstrom in (np.inf, expected * 1.001):
        found = shortest_distance_angstrom(structure, cutoff_angstrom)
        assert found == pytest.approx(expected, rel=1e-12)
    assert shortest_distance_angstrom(structure, expected * 0.999) == np.inf


@pytest.mark.parametrize(
    ("lattice", "expected"),
    [
        (CUBE, 4),  # an atom's own image
        (2 * (1 - np.eye(3)), 2 * np.sqrt(2)),  # the densest packing
        ([[4, 0, 0], [11.8, 1.5, 0], [7.9, 2.2, 9]], np.hypot(0.2, 1.5)),  # b - 3 a of a needle
    ],
)
def test_shortest_distance_of_one_atom(lattice, expected):
    structure = make(lattice, (84,), ((0.7, 0, 0),))
    assert shortest_distance_angstrom(structure) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["NaCl", "CsCl", "diamond"])
def test_shortest_distance_is_pymatgens(name):
    from pymatgen.core import Lattice
    from pymatgen.core import Structure as Crystal

    groups = {
        "NaCl": ("Fm-3m", 5.64, ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        "CsCl": ("Pm-3m", 4.12, ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        "diamond": ("Fd-3m", 3.57, ["C"], [[0.125, 0.125, 0.125]]),
    }
    symbol, edge, species, coords = groups[name]
    crystal = Crystal.from_spacegroup(symbol, Lattice.cubic(edge), species, coords)
    nearest = crystal.distance_matrix[~np.eye(len(crystal), dtype=bool)].min()
    structure = make(crystal.lattice.matrix, crystal.atomic_numbers, crystal.frac_coords)
    assert shortest_distance_angstrom(structure) == pytest.approx(nearest)


def test_blocks_of_rows_see_every_pair():
    rng = np.random.default_rng(0)
    coords = rng.permutation(np.stack(np.meshgrid(*[np.arange(9) / 9] * 3), -1).reshape(-1, 3))
    coords[700] = coords[3] + [0.001, 0, 0]
    structure = make(36 * np.eye(3), [6] * 729, coords)
    assert shortest_distance_angstrom(structure, 0.5) == pytest.approx(0.036)


def test_a_cell_too_flat_to_check_is_refused():
    with pytest.raises(ValueError, match="too flat"):
        validate(make([[1, 0, 0], [1000, 0.002, 0], [0, 0, 1]], (1,), ((0, 0, 0),)))
