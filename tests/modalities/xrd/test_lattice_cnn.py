import numpy as np
import pytest
import torch
from pydantic import ValidationError

from omnimat.modalities.composition.features import Magpie
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.modalities.xrd.lattice_cnn import AngleGrid, XrdLatticeCnnSettings
from omnimat.modalities.xrd.lattice_cnn_network import Averaged, LatticeAxes, autocorrelation

GRID = AngleGrid(start_degree=5.0, step_degree=0.05, num_points=1700)
CUBIC = (1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 16)


def _lines(squares, zero_degree=0.0):
    """Return a pattern with equal lines at these values of the square of sin(theta), (1, 1700)."""
    grid = GRID.start_degree + GRID.step_degree * np.arange(GRID.num_points)
    places = np.degrees(2 * np.arcsin(np.sqrt(np.asarray(squares)))) + zero_degree
    curve = np.exp(-0.5 * ((grid - places[:, None]) / 0.06) ** 2).sum(axis=0)
    return torch.from_numpy(curve[None])


def _cubic(factor, zero_degree=0.0):
    return _lines(0.02 * factor * np.array(CUBIC), zero_degree)


def _likeness(one, other):
    """Return the correlation coefficient of two curves."""
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])


def test_a_pattern_on_the_logarithmic_axis_moves_with_the_size_of_the_cell():
    axes = LatticeAxes(GRID, 256)
    step = np.log(0.5 / np.sin(np.radians(2.5)) ** 2) / 256
    one, other = (axes(_cubic(np.exp(n * step)))[0] for n in (0, 20))
    for before, after in zip(one, other, strict=True):
        assert _likeness(before[60:220], after[80:240]) > 0.8  # lines are equally wide in angle
        assert _likeness(before[60:220], after[60:220]) < 0.4


def test_lines_of_a_cubic_cell_lie_multiples_of_one_distance_apart():
    even = LatticeAxes(GRID, 256).to_squares(_cubic(1.0))
    together = autocorrelation(even)[0]
    lag = round(0.02 / (np.sin(np.radians(45)) ** 2 / len(together)))
    at_multiples = together[[lag, 2 * lag, 3 * lag]].mean()
    between = together[[lag * 3 // 2, lag * 5 // 2]].mean()
    assert float(together[0]) == pytest.approx(1)
    assert float(at_multiples) > 0.2
    assert float(between) < 0.05


def test_distances_of_lines_hardly_feel_the_zero_error():
    axes = LatticeAxes(GRID, 256)
    straight, shifted = (axes(_cubic(1.0, zero))[0] for zero in (0.0, 0.1))
    apart = (straight - shifted).abs().mean(dim=1) / straight.abs().mean(dim=1)
    assert float(apart[1]) < 0.6 * float(apart[0])


def test_what_lies_between_edges_is_averaged_and_beyond_the_ends_is_nothing():
    averaged = Averaged(np.array([-1.0, 0.0, 1.5, 1.75, 3.0, 7.0]), 4)
    means = averaged(torch.tensor([[1.0, 2.0, 4.0, 8.0]]))
    torch.testing.assert_close(means, torch.tensor([[0.0, 2 / 1.5, 2.0, 4.5 / 1.25, 2.0]]))


def test_a_pattern_without_intensity_has_finite_gradients():
    encoder = XrdLatticeCnnSettings(preset="tiny").fitted_to(XrdPattern()).build(8)
    encoder({"intensity": torch.zeros(3, 900)}).sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in encoder.parameters())


def test_the_angles_are_those_of_the_featurizer():
    featurizer = XrdPattern(two_theta_min_degree=10, two_theta_max_degree=80, step_degree=0.02)
    grid = XrdLatticeCnnSettings().fitted_to(featurizer).grid
    assert grid == AngleGrid(start_degree=10, step_degree=0.02, num_points=3500)


def test_other_features_are_refused():
    with pytest.raises(ValueError, match="xrd_pattern"):
        XrdLatticeCnnSettings().fitted_to(Magpie())


def test_a_kernel_has_a_middle():
    with pytest.raises(ValidationError, match="odd"):
        XrdLatticeCnnSettings(kernel_size=4)
