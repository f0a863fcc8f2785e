import numpy as np

from omnimat.inference.domain import Domain, elements_of, notes
from omnimat.inference.features import atoms_of
from omnimat.materials.record import Record, Structure
from omnimat.modalities.composition.query import parse_formula

DOMAIN = Domain(elements=elements_of(["NaCl", "LiF"]), max_atoms=2, far=1.0, num_materials=2)


def crystal(atomic_numbers):
    count = len(atomic_numbers)
    coordinates = np.linspace(0, 0.9, 3 * count).reshape(count, 3)
    return Structure(4.0 * np.eye(3), np.array(atomic_numbers, np.int32), coordinates)


def told(distance=0.0, **parts):
    return notes(DOMAIN, *atoms_of(Record("given", parts)), distance)


def test_a_material_like_those_of_the_training_carries_no_note():
    assert told(structure=crystal([11, 9])) == []
    assert told(composition=parse_formula("Na2LiF3")) == []
    assert told() == []


def test_a_formula_with_an_unseen_element_carries_a_note_as_a_crystal_does():
    assert told(composition=parse_formula("LiPuF3")) == ["no training material has Pu"]
    assert told(structure=crystal([3, 94])) == ["no training material has Pu"]
    both = told(structure=crystal([3, 94]), composition=parse_formula("LiHg"))
    assert both == ["no training material has Hg, Pu"]


def test_a_crystal_of_more_atoms_than_any_of_the_training_carries_a_note():
    assert told(structure=crystal([3, 9, 9])) == ["more atoms than any training material (3, 2)"]
    found = told(2.0, structure=crystal([3, 9, 94]))
    assert [words.split()[0] for words in found] == ["no", "more", "far"]
