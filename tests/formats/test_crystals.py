"""Crystals of pymatgen and ASE become ours."""

import numpy as np
import pytest
from ase import Atoms
from pymatgen.core import DummySpecies, Element, Lattice, Structure

from omnimat.formats.crystals import (
    ATOMIC_NUMBERS,
    ISOTOPES,
    MAX_SITES_TO_ORDER,
    from_ase,
    to_structure,
)
from omnimat.formats.format import Reading
from omnimat.materials.validation import validate

REFUSE, ORDER = Reading(), Reading(disorder="nearest_ordered")
CENTRE = [0.5, 0.5, 0.5]
FCC = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]


def refused(crystal, reading=REFUSE):
    with pytest.raises(ValueError, match=r"^[a-z ]+[01]?: ") as caught:
        to_structure(crystal, reading)
    return str(caught.value)


def test_the_elements_are_those_of_pymatgen():
    assert {one.symbol: one.Z for one in Element if one.symbol not in ISOTOPES} == ATOMIC_NUMBERS


def test_an_ordered_crystal_is_wrapped_and_loses_its_charges():
    crystal = Structure(Lattice.cubic(4.12), ["Cs+", "Cl-"], [[-0.25, 1, -1e-18], CENTRE])
    structure, notes = to_structure(crystal, REFUSE)
    assert structure.atomic_numbers.tolist() == [55, 17]
    np.testing.assert_array_equal(structure.frac_coords, [[0.75, 0, 0], CENTRE])
    assert notes == {}


@pytest.mark.parametrize("occupancy", [0.999, 0.9999, 1.00002, 1.0])
def test_occupancies_of_nearly_one(occupancy):
    crystal = Structure(Lattice.cubic(4), [{"Fe": 1}], [[0, 0, 0]])
    crystal.sites[0]._species = type(crystal.sites[0].species)({"Fe": occupancy})
    assert to_structure(crystal, REFUSE)[0].atomic_numbers.tolist() == [26]


def test_charges_of_one_element_add_up():
    crystal = Structure(Lattice.cubic(4), [{"Fe2+": 0.5, "Fe3+": 0.5}], [[0, 0, 0]])
    assert to_structure(crystal, REFUSE)[0].atomic_numbers.tolist() == [26]


def test_partial_occupancy_is_refused():
    alloy = Structure(Lattice.cubic(3), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    assert refused(alloy) == "partial occupancy: a site holds Fe0.5 Ni0.5"
    assert refused(Structure(Lattice.cubic(3), [{"Fe": 0.9}], [[0, 0, 0]])).startswith("partial")


def test_disorder_is_ordered_on_request_and_always_the_same():
    crystal = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}] * 4, FCC)
    first, notes = to_structure(crystal, ORDER)
    again, _ = to_structure(crystal, ORDER)
    assert sorted(first.atomic_numbers.tolist()) == [29, 29, 79, 79]
    np.testing.assert_array_equal(first.atomic_numbers, again.atomic_numbers)
    np.testing.assert_array_equal(first.frac_coords, again.frac_coords)
    assert "4 partially occupied" in notes["structure"]
    validate(first)


def test_vacancies_are_ordered_too():
    coords = [*FCC, [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], CENTRE]
    crystal = Structure(Lattice.cubic(4.3), [{"Fe": 0.75}] * 4 + ["O"] * 4, coords)
    assert sorted(to_structure(crystal, ORDER)[0].atomic_numbers.tolist()) == [8] * 4 + [26] * 3


def test_what_cannot_be_ordered_is_refused():
    odd = Structure(Lattice.cubic(3), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    assert refused(odd, ORDER).startswith("partial occupancy: Fe0.5 Ni0.5 cannot be ordered")
    many = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}] * 4, FCC) * (4, 4, 2)
    assert str(MAX_SITES_TO_ORDER) in refused(many, ORDER)


@pytest.mark.parametrize("isotope", ["D", "T"])
def test_isotopes_are_hydrogen_with_a_note(isotope):
    crystal = Structure(Lattice.cubic(4), [Element(isotope)], [[0, 0, 0]])
    structure, notes = to_structure(crystal, REFUSE)
    assert structure.atomic_numbers.tolist() == [1]
    assert "hydrogen" in notes["structure"]


def test_dummies_are_refused_by_name():
    crystal = Structure(Lattice.cubic(4), [DummySpecies("Xq")], [[0, 0, 0]])
    assert "'Xq'" in refused(crystal)


def test_coordinates_that_are_not_finite():
    assert refused(Structure(Lattice.cubic(4), ["Fe"], [[np.nan, 0, 0]])).startswith("not finite")


def test_left_handed_cells_are_crystals():
    lattice = 4.12 * np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.5]])
    crystal = Structure(Lattice(lattice), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.4, 0.3]])
    structure, _ = to_structure(crystal, REFUSE)
    validate(structure)
    positions = structure.frac_coords @ structure.lattice_angstrom
    np.testing.assert_allclose(positions, crystal.cart_coords)


def test_atoms_of_ase():
    atoms = Atoms("CsCl", positions=[[0, 0, 0], [2.06, 2.06, -2.06]], cell=[4.12] * 3, pbc=True)
    structure = from_ase(atoms)
    assert structure.atomic_numbers.tolist() == [55, 17]
    np.testing.assert_allclose(structure.frac_coords, [[0, 0, 0], CENTRE])


@pytest.mark.parametrize(
    ("atoms", "said"),
    [
        (Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7]]), "no cell"),
        (Atoms("H", cell=[3, 3, 0], pbc=[True, True, False]), "no cell"),
        (Atoms("X", cell=[3, 3, 3], pbc=True), "no element has"),
        (Atoms("H", positions=[[np.nan, 0, 0]], cell=[3, 3, 3], pbc=True), "not finite"),
    ],
)
def test_atoms_that_are_no_crystal(atoms, said):
    with pytest.raises(ValueError, match=said):
        from_ase(atoms)
