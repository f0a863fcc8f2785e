import numpy as np
import pytest

from omnimat.modalities.structure.elements import element_table, tabulated

WIDTHS = {
    "group": 18,
    "period": 7,
    "f_block": 1,
    "electronegativity": 10,
    "covalent_radius": 10,
    "valence_electrons": 12,
    "ionisation_energy": 10,
    "electron_affinity": 10,
    "block": 4,
    "molar_volume": 10,
}


def columns_set(atomic_number: int) -> dict[str, list[int]]:
    parts = np.split(element_table()[atomic_number], np.cumsum(list(WIDTHS.values()))[:-1])
    return {name: np.flatnonzero(part).tolist() for name, part in zip(WIDTHS, parts, strict=True)}


def test_every_element_has_its_own_row_of_ninety_two_bits() -> None:
    table = element_table()
    assert table.shape == (119, 92)
    assert set(np.unique(table)) == {0, 1}
    assert not table[0].any()
    assert len(np.unique(table, axis=0)) == 119


def test_iron() -> None:
    assert columns_set(26) == {
        "group": [7],
        "period": [3],
        "f_block": [],
        "electronegativity": [3],  # 1.83 in steps of 0.35 from 0.5
        "covalent_radius": [5],  # Cordero's 132 (low spin) and 152 pm (high spin) share a bin
        "valence_electrons": [7],
        "ionisation_energy": [3],  # ln 7.90 = 2.07 in steps of 0.2 from 1.3
        "electron_affinity": [4],  # 0.15 in steps of 0.67 from -3
        "block": [2],
        "molar_volume": [1],  # ln 7.09 = 1.96 in steps of 0.28 from 1.5
    }


@pytest.mark.parametrize(
    ("atomic_number", "num_valence"), [(2, 2), (8, 6), (29, 11), (32, 4), (60, 6), (71, 3), (82, 4)]
)
def test_valence_electrons(atomic_number: int, num_valence: int) -> None:
    assert columns_set(atomic_number)["valence_electrons"] == [num_valence - 1]


def test_an_unknown_property_leaves_its_columns_zero() -> None:
    neon = columns_set(10)
    assert neon["electronegativity"] == []
    assert neon["group"] == [17]


def test_the_stored_table_is_what_pymatgen_tells() -> None:
    """If a new version of pymatgen tells otherwise, trained models keep what they have learned."""
    np.testing.assert_array_equal(element_table(), tabulated())
