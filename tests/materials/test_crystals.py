import gemmi
import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from omnimat.materials.crystals import (
    crystal_system,
    from_pymatgen,
    niggli_reduced,
    space_group_symbol,
    symmetry_properties,
)

PLACES = [[0, 0, 0], [0.5, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("lattice", "places", "reason"),
    [
        (np.full((3, 3), np.nan), PLACES, "not finite"),
        (4 * np.eye(3), [[0, 0, np.nan], [0.5, 0.5, 0.5]], "not finite"),
        (4 * np.eye(3) * [[1], [1], [0]], PLACES, "degenerate cell"),
        (4 * np.eye(3), [[0.2, 0, 0], [0.2, 0, 0]], "overlapping atoms"),
    ],
)
def test_spglib_is_not_asked_about_what_is_no_crystal(lattice, places, reason):
    with pytest.raises(ValueError, match=reason):
        symmetry_properties(Structure(Lattice(lattice), ["Na", "Na"], places))


def test_a_crystal_has_a_space_group():
    found = symmetry_properties(Structure(Lattice.cubic(4.12), ["Cs", "Cl"], PLACES))
    assert found == {"space_group_number": 221, "crystal_system": "cubic"}


def test_space_groups_have_the_crystal_systems_of_another_library():
    for number in range(1, 231):
        theirs = gemmi.find_spacegroup_by_number(number).crystal_system_str()
        assert crystal_system(number) == theirs
    for number in (0, 231, -1):
        with pytest.raises(ValueError, match="numbered 1 to 230"):
            crystal_system(number)


def test_a_space_group_has_a_symbol():
    assert [space_group_symbol(number) for number in (2, 14, 225)] == ["P-1", "P12_1/c1", "Fm-3m"]


def test_the_reduced_cell_is_that_of_pymatgen_to_the_last_digit():
    cell = Structure(Lattice.from_parameters(4, 5, 6, 70, 80, 65), ["Na", "Cl"], PLACES)
    skewed = cell.make_supercell([[1, 0, 0], [2, 1, 0], [0, 3, 1]], in_place=False)
    for crystal in (cell, skewed, Structure(Lattice.cubic(4.12), ["Cs", "Cl"], PLACES)):
        reduced = crystal.get_reduced_structure()
        standard = Lattice.from_parameters(*reduced.lattice.parameters)
        theirs = from_pymatgen(Structure(standard, reduced.species, reduced.frac_coords))
        ours = niggli_reduced(from_pymatgen(crystal))
        assert (ours.lattice_angstrom == theirs.lattice_angstrom).all()
        assert (ours.frac_coords == theirs.frac_coords).all()
        assert (ours.atomic_numbers == theirs.atomic_numbers).all()
