import pytest

from omnimat.materials.quantities import revealed


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        ("log10_bulk_modulus_vrh_gpa", "bulk_modulus_gpa"),
        ("band_gap_ev", "band_gap_pbe_ev"),
        ("e_above_hull_ev_per_atom", "energy_above_hull"),
        ("formation_energy_per_atom", "formation_energy_ev_per_atom"),
        ("space_group_number", "crystal_system"),
        ("elastic_lower_6x6_gpa", "log10_shear_modulus_vrh_gpa"),
        ("density_g_per_cm3", "volume_angstrom3_per_atom"),
    ],
)
def test_a_synonym_reveals(shown, wanted):
    assert revealed(["num_atoms", shown], [wanted, "hardness"]) == {wanted: shown}


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        ("bulk_modulus_gpa", "shear_modulus_gpa"),
        ("bulk_modulus_gpa", "elastic_lower_6x6_gpa"),
        ("crystal_system", "space_group_number"),
        ("band_gap_ev", "band_gap_hse_ev"),
        ("energy_per_atom", "formation_energy_ev_per_atom"),
        ("ev", "gpa"),
    ],
)
def test_another_quantity_does_not(shown, wanted):
    assert revealed([shown], [wanted]) == {}
