import pytest
import torch

from omnimat.modalities.xrd.cnn import XrdCnnSettings


@pytest.mark.parametrize("num_points", [91, 900, 4501])
def test_any_number_of_points(num_points: int) -> None:
    encoder = XrdCnnSettings(preset="tiny").build(8)
    assert encoder({"intensity": 100 * torch.rand(2, num_points)}).shape == (2, 8)


def test_the_angle_of_a_peak_matters() -> None:
    encoder = XrdCnnSettings(preset="tiny").build(8).eval()
    peaks = torch.zeros(2, 900)
    peaks[0, 300], peaks[1, 600] = 100, 100
    low, high = encoder({"intensity": peaks})
    assert float((low - high).detach().abs().max()) > 1e-4


def test_a_zero_intensity_has_finite_gradients() -> None:
    encoder = XrdCnnSettings(preset="tiny").build(8)
    encoder({"intensity": torch.zeros(3, 100)}).sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in encoder.parameters())
