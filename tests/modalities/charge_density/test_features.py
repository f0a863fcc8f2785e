import numpy as np
import pytest
import scipy.signal

from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.modalities.charge_density.resampling import resampled


def smooth_density(shape) -> np.ndarray:
    """Return a sum of a few plane waves, which any grid of at least 8 points represents exactly."""
    x, y, z = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    turns = 2 * np.pi
    return 3 + np.cos(turns * (x - 2 * y)) + 0.5 * np.sin(turns * (3 * z + y)) + np.cos(turns * x)


@pytest.mark.parametrize("shape", [(32, 32, 32), (48, 40, 60), (45, 33, 31), (20, 24, 18)])
def test_resampling_is_exact_for_smooth_densities(record_of, nacl, shape):
    record = record_of(nacl, charge_density=smooth_density(shape))
    density = ChargeDensityGrid(scale="raw")(record)["density"]
    assert density.shape == (32, 32, 32)
    # The tolerance is that of single precision.
    np.testing.assert_allclose(density, smooth_density((32, 32, 32)), atol=5e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_points", [1, 8, 9, 15, 16, 33])
@pytest.mark.parametrize("shape", [(16, 3, 9), (4, 16, 15)])
def test_resampling_equals_that_of_scipy_to_the_last_bit(shape, num_points, dtype):
    grid = np.random.default_rng(0).normal(size=shape).astype(dtype)
    expected = grid
    for axis in (0, 1, 2):
        if shape[axis] != num_points:
            expected = scipy.signal.resample(expected, num_points, axis=axis)
    found = resampled(grid, num_points)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, expected)


def test_a_grid_of_the_right_size_is_untouched(record_of, nacl):
    noise = np.random.default_rng(0).normal(size=(32, 32, 32)).astype(np.float16)
    density = ChargeDensityGrid(scale="raw")(record_of(nacl, charge_density=noise))["density"]
    np.testing.assert_array_equal(density, noise.astype(np.float32))


def test_electrons_are_kept(record_of, nacl):
    rough = np.random.default_rng(0).random((48, 50, 36))
    density = ChargeDensityGrid(scale="raw")(record_of(nacl, charge_density=rough))["density"]
    assert density.mean() == pytest.approx(rough.mean(), rel=1e-5)


def test_scales(record_of, nacl):
    signed = np.linspace(-100, 4000, 32**3).reshape(32, 32, 32)
    record = record_of(nacl, charge_density=signed)
    per_volume = ChargeDensityGrid(scale="per_volume")(record)["density"]
    np.testing.assert_allclose(per_volume, signed / 5.64**3, rtol=1e-5, atol=1e-6)
    log = ChargeDensityGrid()(record)["density"]
    np.testing.assert_allclose(
        log, np.sign(per_volume) * np.log1p(np.abs(per_volume)), rtol=1e-5, atol=1e-6
    )


def test_broken(record_of, nacl):
    with pytest.raises(ValueError, match="3D grid"):
        ChargeDensityGrid()(record_of(nacl, charge_density=np.zeros((4, 4))))
    with pytest.raises(ValueError, match="finite"):
        ChargeDensityGrid()(record_of(nacl, charge_density=np.full((4, 4, 4), np.inf)))
