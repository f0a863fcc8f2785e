"""The parameter is the logarithm of the inverse temperature; its floor never traps it."""

import math

import pytest
import torch
from pydantic import ValidationError

from omnimat.objectives.temperature import TemperatureSettings


def test_parameter_is_the_logarithm_of_the_inverse_temperature():
    parameter = torch.tensor([-math.log(0.07)], dtype=torch.float64)
    factor = TemperatureSettings().inverse_temperature(parameter)
    assert factor.item() == pytest.approx(1 / 0.07, rel=1e-12)


def test_bfloat16_parameter_is_exponentiated_in_float32():
    factor = TemperatureSettings().inverse_temperature(torch.tensor([1.5], dtype=torch.bfloat16))
    assert factor.dtype == torch.float32
    assert factor.item() == pytest.approx(math.exp(1.5), rel=1e-6)


def test_floor_bounds_the_value_but_passes_the_gradient():
    settings = TemperatureSettings(minimum=0.01)
    parameter = torch.tensor([6.0], dtype=torch.float64, requires_grad=True)
    factor = settings.inverse_temperature(parameter)
    assert factor.item() == pytest.approx(100, rel=1e-12)
    factor.backward()
    assert parameter.grad.item() == pytest.approx(100, rel=1e-12)


@pytest.mark.parametrize(
    "values", [{"initial": 0}, {"initial": float("inf")}, {"initial": 0.005}, {"minimum": 0.5}]
)
def test_refuses_temperatures_below_the_floor(values):
    with pytest.raises(ValidationError):
        TemperatureSettings(**values)
