import numpy as np
import pytest
from pydantic import ValidationError

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.materials.record import Record
from omnimat.modalities.choices import ModalityChoices
from omnimat.modalities.properties.features import PropertyValues
from omnimat.modalities.properties.mlp import PropertyMlpSettings

TRAINING = [
    Record("a", properties={"gap_ev": 1.0, "system": "cubic", "energy_ev": -3.0}),
    Record("b", properties={"gap_ev": 3.0, "system": "hexagonal", "energy_ev": -3.0}),
    Record("c", properties={"system": "cubic"}),
]
CHOSEN = PropertyValues(numbers=("gap_ev", "energy_ev"), classes=("system",))


def training(parts):
    assert parts == ()  # properties are all that is asked for
    return iter(TRAINING)


@pytest.fixture
def located():
    return CHOSEN.located(Workspace.open(), training)


def arrays(featurizer, **properties):
    return featurizer(Record("x", properties=properties))


def test_numbers_are_standardised_over_the_training_split(located):
    given = [arrays(located, **one.properties)["values"][0] for one in TRAINING[:2]]
    assert given == [-1.0, 1.0]
    # Equal values have no spread to divide by.
    assert arrays(located, energy_ev=-2.0)["values"].tolist() == [0.0, 1.0, 0.0, 0.0]


def test_classes_are_one_hot_and_what_is_missing_is_masked(located):
    found = arrays(located, gap_ev=2.0, system="hexagonal")
    assert found["values"].tolist() == [0.0, 0.0, 0.0, 1.0]
    assert found["is_known"].tolist() == [1.0, 0.0, 1.0]
    unheard_of = arrays(located, gap_ev=2.0, system="amorphous")
    assert unheard_of["is_known"].tolist() == [1.0, 0.0, 0.0]
    assert arrays(located, other=1.0) is None


@pytest.mark.parametrize("value", ["wide", True, [1.0]])
def test_what_should_be_a_number_and_is_none_costs_its_record(located, value):
    with pytest.raises(ValueError, match="gap_ev"):
        arrays(located, gap_ev=value)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({}, "at least one property"),
        ({"numbers": ("a", "a")}, "twice"),
        ({"numbers": ("a",), "classes": ("a",)}, "twice"),
    ],
)
def test_choices_that_make_no_sense(keys, reason):
    with pytest.raises(ValidationError, match=reason):
        PropertyValues(**keys)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [({"numbers": ("gab_ev",)}, "'gab_ev'"), ({"numbers": ("system",)}, "name it under classes")],
)
def test_what_no_training_record_has_is_named(keys, reason):
    with pytest.raises(UserError, match=reason):
        PropertyValues(**keys).located(Workspace.open(), training)


def test_the_encoder_takes_its_widths_from_the_training_split():
    choices = ModalityChoices(properties={"featurizer": CHOSEN.model_dump()})
    encoder = choices.located(Workspace.open(), training).properties.encoder
    assert encoder == PropertyMlpSettings(num_values=4, num_properties=3)
    with pytest.raises(ValidationError, match="Field required"):
        ModalityChoices(properties={})


def test_statistics_are_measured_once(located):
    again = located.located(Workspace.open(), lambda parts: pytest.fail("measured again"))
    assert again == located
    np.testing.assert_allclose(located.statistics.numbers["gap_ev"].mean, 2.0)
