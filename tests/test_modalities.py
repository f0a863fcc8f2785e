import pytest
from pydantic import ValidationError

from omnimat.encoders.potnet import PotNetSettings
from omnimat.modalities import StructureChoice

WITHIN_5 = {"neighbors": "within_cutoff", "cutoff_angstrom": 5.0}


def test_potnet_is_the_default() -> None:
    assert StructureChoice().encoder == PotNetSettings()
    assert StructureChoice(encoder={"preset": "tiny"}).encoder == PotNetSettings(preset="tiny")


@pytest.mark.parametrize(
    ("encoder", "featurizer"),
    [
        ({"type": "potnet", "lattice_sums": False}, {"lattice_sums": False}),
        ({"type": "cgcnn"}, {"lattice_sums": False}),
        ({"type": "cgcnn"}, {}),
        ({"type": "painn"}, WITHIN_5),
        ({"type": "painn"}, WITHIN_5 | {"cutoff_angstrom": 6.0}),
        ({"type": "dimenetpp"}, WITHIN_5 | {"cutoff_angstrom": 7.0}),
    ],
)
def test_a_featurizer_that_serves(encoder: dict, featurizer: dict) -> None:
    StructureChoice(encoder=encoder, featurizer=featurizer)


@pytest.mark.parametrize(
    ("encoder", "featurizer", "sentence"),
    [
        ({}, {"lattice_sums": False}, "potnet takes lattice sums: set featurizer.lattice_sums"),
        ({"type": "painn"}, {}, "painn takes the neighbours within 5.0 angstrom: set featurizer"),
        ({"type": "dimenetpp"}, WITHIN_5, "dimenetpp takes the neighbours within 7.0 angstrom"),
    ],
)
def test_a_featurizer_that_does_not(encoder: dict, featurizer: dict, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        StructureChoice(encoder=encoder, featurizer=featurizer)
