import numpy as np

from omnimat.modalities.charge_density.augment import shifted_origin


def test_the_values_are_turned_round_the_cell():
    density = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32)
    before = density.copy()
    shifted = shifted_origin(density, np.random.default_rng(1))
    assert shifted.shape == density.shape
    assert shifted.dtype == np.float32
    np.testing.assert_array_equal(density, before)
    # A shift multiplies every Fourier coefficient by a phase.
    ratio = np.fft.fftn(shifted) / np.fft.fftn(density)
    np.testing.assert_allclose(np.abs(ratio), 1, rtol=1e-5)
    assert not np.array_equal(shifted, density)


def test_the_generator_decides_and_every_origin_occurs():
    density = np.arange(8).reshape(2, 2, 2)
    generator = np.random.default_rng(0)
    origins = [int(shifted_origin(density, generator)[0, 0, 0]) for _ in range(200)]
    assert set(origins) == set(range(8))
    again = np.random.default_rng(0)
    assert origins == [int(shifted_origin(density, again)[0, 0, 0]) for _ in range(200)]
