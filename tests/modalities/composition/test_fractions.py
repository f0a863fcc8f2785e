import numpy as np
import pytest
from pydantic import ValidationError

from omnimat.materials.record import Record
from omnimat.modalities.choices import ModalityChoices
from omnimat.modalities.composition import Formula
from omnimat.modalities.composition.fractions import ElementFractions


def test_fractions_are_by_element_and_do_not_depend_on_how_many_units_are_written():
    for units in (1, 4):
        formula = Formula(np.array([8, 22, 56]), units * np.array([3.0, 1.0, 1.0]))
        found = ElementFractions()(Record("a", parts={"composition": formula}))["element_fractions"]
        assert np.flatnonzero(found).tolist() == [7, 21, 55]
        np.testing.assert_allclose(found[[7, 21, 55]], [0.6, 0.2, 0.2], rtol=1e-6)  # float32


def test_the_encoder_of_magpie_refuses_them():
    fractions = {"type": "element_fractions"}
    with pytest.raises(ValidationError, match="composition_mlp cannot read element_fractions"):
        ModalityChoices(composition={"featurizer": fractions})
    choices = ModalityChoices(composition={"featurizer": fractions, "encoder": None})
    assert choices.composition.featurizer.vector.size == 118
