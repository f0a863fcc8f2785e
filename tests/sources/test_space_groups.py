import numpy as np
import pytest
import spglib

from omnimat.sources.space_groups import GRID, families, space_group

# Special positions of few groups, with how many points of a primitive cell each holds
# (International Tables A, multiplicity over that of the centring).
_MULTIPLICITIES = {2: {1, 2}, 62: {4, 8}, 167: {2, 4, 6, 12}, 227: {2, 4, 8, 12, 24, 48}}


def _operations(group):
    return list(zip(group.rotations, group.shifts, strict=True))


@pytest.mark.parametrize("number", range(1, 231))
def test_the_operations_form_a_group(number):
    operations = _operations(space_group(number))
    known = {(rotation.tobytes(), tuple(shift)) for rotation, shift in operations}
    assert len({rotation.tobytes() for rotation, _ in operations}) == len(operations)
    for rotation, shift in operations:
        for left, left_shift in (operations[0], operations[-1]):
            product = (left @ shift + left_shift) % GRID
            assert ((left @ rotation).tobytes(), tuple(product)) in known


def test_families_hold_all_space_groups():
    assert {family: len(numbers) for family, numbers in families().items()} == {
        "triclinic": 2,
        "monoclinic": 13,
        "orthorhombic": 59,
        "tetragonal": 68,
        "hexagonal": 52,
        "cubic": 36,
    }


@pytest.mark.parametrize("number", [2, 12, 38, 70, 146, 167, 194, 227])
def test_a_lattice_has_the_symmetry_of_its_family(number):
    group = space_group(number)
    lattice = group.drawn_lattice(120.0, np.random.default_rng(number))
    assert np.linalg.det(lattice) == pytest.approx(120.0)
    metric = lattice @ lattice.T
    for rotation in group.rotations:
        np.testing.assert_allclose(rotation.T @ metric @ rotation, metric, atol=1e-9)


@pytest.mark.parametrize(("number", "expected"), _MULTIPLICITIES.items())
def test_points_of_every_multiplicity_are_drawn(number, expected):
    group, generator = space_group(number), np.random.default_rng(0)
    orbits = [group.orbit(group.drawn_point(generator)) for _ in range(600)]
    assert {len(orbit) for orbit in orbits} == expected


@pytest.mark.parametrize("number", [14, 88, 166, 225, 230])
def test_an_orbit_is_closed_and_has_the_symmetry_of_its_group(number):
    group, generator = space_group(number), np.random.default_rng(1)
    lattice = group.drawn_lattice(400.0, generator)
    general = group.orbit(generator.uniform(size=3))
    special = group.orbit(group.drawn_point(generator))
    assert len(general) == len(group.rotations)
    cell = (lattice, np.concatenate([general, special]), [1] * len(general) + [2] * len(special))
    assert spglib.get_spacegroup(cell, symprec=1e-4).endswith(f"({number})")
