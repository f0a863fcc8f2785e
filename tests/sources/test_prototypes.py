import pytest

from omnimat.materials.split import SplitSettings
from omnimat.shards.codec import encode
from omnimat.sources import prototypes
from omnimat.sources.checker import Checker
from omnimat.sources.prototypes import Prototypes

# spglib 2.8 warns about the way in which pymatgen 2026 calls it.
pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")


@pytest.fixture(scope="module")
def records():
    source = Prototypes(num_materials=300)
    return list(source.read(0, 40)) + list(source.read(240, 300))


def test_default_count_and_slices():
    assert Prototypes().num_items() == 400
    assert len(list(Prototypes(num_materials=5).read(3, 100))) == 2


def test_every_record_is_accepted_and_has_all_modalities(records):
    checker = Checker(SplitSettings(), ())
    accepted = list(checker.accepted(records))
    assert checker.failures == []
    assert len(accepted) == 100
    for record in accepted:
        assert len(encode(record)) == 6  # everything except the text embedding
        assert record.structure.atomic_numbers.size <= 20
        assert record.properties["volume_angstrom3_per_atom"] > 3
        assert "surrogate" in record.provenance["dos"]
        assert "surrogate" in record.provenance["charge_density"]


def test_ids_of_the_whole_list_are_unique():
    ids = [decoration.material_id for decoration in prototypes._decorations(20)]
    assert len(ids) == len(set(ids)) > 1500


def test_any_slice_gives_the_same_bytes(records):
    again = next(iter(Prototypes(num_materials=300).read(17, 18)))
    assert encode(again) == encode(records[17])


def test_decorations_are_hypothetical_and_of_plausible_size(records):
    decorated = [r for r in records if "hypothetical decoration" in r.parts["text"]]
    assert len(decorated) > 40
    volumes = [r.properties["volume_angstrom3_per_atom"] for r in decorated]
    assert all(5 <= volume < 110 for volume in volumes)


def test_rock_salt():
    record = next(
        r
        for r in Prototypes(num_materials=250).read(0, 250)
        if r.material_id == "AB_cF8_225_a_b-NaCl"
    )
    assert record.properties["space_group_number"] == 225
    assert record.properties["crystal_system"] == "cubic"
    # Halite has 2.17 g/cm3, and the prototype has the measured lattice constant.
    assert record.properties["density_g_per_cm3"] == pytest.approx(2.17, abs=0.03)
    assert "cubic Fm-3m space group" in record.parts["text"]
    assert "sodium (Na) and chlorine (Cl)" in record.parts["text"]
    assert "between atoms is 2.82 angstrom" in record.parts["text"]
