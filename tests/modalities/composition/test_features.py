import warnings

import numpy as np
import pytest
from pymatgen.core import Composition

from omnimat.materials.record import Record, Structure
from omnimat.modalities.composition.features import ELEMENT_PROPERTIES, STATISTICS, Magpie

FORMULAS = [
    "NaCl",
    "Po",
    "Fe2O3",
    "LiFePO4",
    "BaTiO3",
    "Ba2NdTi3O9",
    "CsPbI3",
    "SiO2",
    "UPuAm2Th3",
    "HeNeArKr",
    "Cf2Es",
    "Li3AlN2H8O5",
    "H2",
    "CaMg(CO3)2",
    "RfDbO4",
]


def composition_record(formula: str) -> Record:
    amounts = Composition(formula).items()
    numbers = [element.Z for element, amount in amounts for _ in range(round(amount))]
    # The order of atoms must not matter.
    shuffled = np.random.default_rng(0).permutation(numbers).astype(np.int32)
    structure = Structure(np.eye(3), shuffled, np.zeros((len(numbers), 3)))
    return Record("formula", {"structure": structure})


@pytest.fixture(scope="module")
def matminer_magpie():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from matminer.featurizers.composition.composite import ElementProperty

        return ElementProperty.from_preset("magpie")


@pytest.mark.parametrize("formula", FORMULAS)
def test_equals_matminer(matminer_magpie, formula):
    ours = Magpie()(composition_record(formula))["magpie"]
    theirs = matminer_magpie.featurize(Composition(formula))
    # Single precision, for values up to a few thousand.
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_order_equals_matminers(matminer_magpie):
    labels = [f"MagpieData {s} {p}" for p in ELEMENT_PROPERTIES for s in STATISTICS]
    assert labels == matminer_magpie.feature_labels()
    assert Magpie().fields[0].item_shape == (132,)


def test_every_element_has_every_feature():
    for number in range(1, 119):
        structure = Structure(np.eye(3), np.array([number], np.int32), np.zeros((1, 3)))
        assert np.isfinite(Magpie()(Record("element", {"structure": structure}))["magpie"]).all()


@pytest.mark.parametrize("numbers", [[], [0], [119]])
def test_refuses_unknown_elements(numbers):
    structure = Structure(np.eye(3), np.array(numbers, np.int32), np.zeros((len(numbers), 3)))
    with pytest.raises(ValueError, match="known element"):
        Magpie()(Record("broken", {"structure": structure}))
