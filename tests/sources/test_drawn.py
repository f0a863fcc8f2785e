from collections import Counter

import numpy as np
import pytest
import spglib
from pydantic import ValidationError

from omnimat.materials.crystals import symmetry_properties, to_pymatgen
from omnimat.materials.record import Failure
from omnimat.materials.split import SplitSettings
from omnimat.materials.validation import shortest_distance_angstrom
from omnimat.shards.codec import encode
from omnimat.sources import drawn
from omnimat.sources.checker import Checker
from omnimat.sources.drawn import Drawn
from omnimat.sources.space_groups import family_of

# spglib 2.8 warns about the way in which pymatgen 2026 calls it.
pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")


@pytest.fixture(scope="module")
def records():
    return list(Drawn(num_materials=80).read(0, 80))


def test_every_record_is_accepted(records):
    checker = Checker(SplitSettings(), ())
    assert list(checker.accepted(records)) == records
    assert "no such crystal" in records[0].provenance["source"]


def test_any_slice_gives_the_same_bytes(records):
    few = list(Drawn(num_materials=40).read(17, 100))
    assert list(map(encode, few)) == list(map(encode, records[17:40]))


def test_another_seed_gives_other_crystals_and_ids(records):
    other = next(Drawn(seed=1).read(0, 1))
    assert other.material_id == "drawn-1-0" == Drawn(seed=1).item_name(0)
    assert records[0].material_id == "drawn-0-0"
    assert not np.array_equal(
        other.structure.lattice_angstrom, records[0].structure.lattice_angstrom
    )


def test_all_families_are_equally_likely(records):
    counts = Counter(family_of(record.properties["space_group_number"]) for record in records)
    assert len(counts) == 6
    assert min(counts.values()) >= 5


def test_the_label_is_what_spglib_finds_also_in_a_primitive_cell(records):
    for record in records:
        structure = record.structure
        found = symmetry_properties(to_pymatgen(structure))
        assert found == {key: record.properties[key] for key in found}
        cell = (structure.lattice_angstrom, structure.frac_coords, structure.atomic_numbers)
        # By an accident a crystal may repeat itself within the cell of its group; none does here.
        assert len(spglib.find_primitive(cell, symprec=0.1)[2]) == structure.atomic_numbers.size


def test_numbers_of_atoms_volumes_and_distances_keep_their_bounds():
    source = Drawn(max_atoms=60, volume_angstrom3_per_atom=(10, 12), min_distance_angstrom=1.6)
    for record in source.read(0, 60):
        structure = record.structure
        count = structure.atomic_numbers.size
        assert record.properties["num_atoms"] == count <= 60
        assert shortest_distance_angstrom(structure) >= 1.6
        # What was drawn is the volume of a cell that may be filled by four fifths.
        assert 10 <= np.linalg.det(structure.lattice_angstrom) / count <= 12 / 0.8


def test_there_are_cells_as_large_as_a_garnets(records):
    counts = [record.structure.atomic_numbers.size for record in records]
    assert max(counts) > 80
    assert max(counts) <= 100


def test_what_cannot_be_drawn_is_a_failure_that_names_the_remedy(monkeypatch):
    monkeypatch.setattr(drawn, "_NUM_TRIES", 0)
    (failure,) = Drawn().read(3, 4)
    assert isinstance(failure, Failure)
    assert failure.material_id == "drawn-0-3"
    assert "max_atoms" in failure.reason


def test_volumes_without_room_for_the_distances_are_refused():
    with pytest.raises(ValidationError, match="min_distance_angstrom"):
        Drawn(volume_angstrom3_per_atom=(4, 25))
    with pytest.raises(ValidationError, match="smallest and a largest"):
        Drawn(volume_angstrom3_per_atom=(25, 20))
