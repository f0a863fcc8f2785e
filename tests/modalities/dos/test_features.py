import numpy as np
import pytest

from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.dos.features import DosCurve


def dos_record(record_of, nacl, energies, up, down=None):
    return record_of(nacl, dos=DensityOfStates(energies, up, down))


@pytest.mark.parametrize("length", [301, 601, 2001, 750])
def test_native_grid_has_601_points_of_the_curve(record_of, nacl, length):
    energies = np.linspace(-14, 9, length).astype(np.float32)
    # Any choice of points and linear interpolation reproduce a straight line exactly.
    arrays = DosCurve()(dos_record(record_of, nacl, energies, 2 * energies + 40))
    assert arrays["energies_ev"].shape == arrays["dos_per_ev"].shape == (601,)
    assert (np.diff(arrays["energies_ev"]) > 0).all()
    np.testing.assert_allclose(arrays["dos_per_ev"], 2 * arrays["energies_ev"] + 40, atol=1e-4)


def test_601_points_are_left_as_they_are(record_of, nacl):
    rng = np.random.default_rng(0)
    energies, up = np.sort(rng.normal(size=601)).astype("f4"), rng.random(601).astype("f4")
    arrays = DosCurve()(dos_record(record_of, nacl, energies, up))
    np.testing.assert_array_equal(arrays["energies_ev"], energies)
    np.testing.assert_array_equal(arrays["dos_per_ev"], up)


def test_2001_points_are_thinned_as_published(record_of, nacl):
    """Every third point is taken and every tenth of those left out, which makes 667 - 66."""
    places = np.arange(2001, dtype=np.float32)
    energies = DosCurve()(dos_record(record_of, nacl, places, places))["energies_ev"]
    assert set(energies) <= set(range(0, 2001, 3))
    gaps = np.diff(energies)
    assert set(gaps) == {3.0, 6.0}
    assert (gaps == 6.0).sum() == 66
    assert energies[9] == 30.0


def test_301_points_are_doubled(record_of, nacl):
    places = np.arange(301, dtype=np.float32)
    energies = DosCurve()(dos_record(record_of, nacl, places, places))["energies_ev"]
    np.testing.assert_allclose(energies, np.arange(601) / 2)


@pytest.mark.parametrize("window", [(-10, 10), (-3, 8)])
def test_common_grid_is_zero_beyond_the_curve(record_of, nacl, window):
    energies = np.linspace(-5, 5, 301).astype(np.float32)
    curve = DosCurve(grid="common", num_points=41, window_ev=window)
    arrays = curve(dos_record(record_of, nacl, energies, np.ones(301, np.float32)))
    np.testing.assert_allclose(arrays["energies_ev"], np.linspace(*window, 41), rtol=1e-6)
    np.testing.assert_array_equal(arrays["dos_per_ev"], np.abs(arrays["energies_ev"]) <= 5)


def test_total_needs_both_channels(record_of, nacl):
    energies = np.linspace(-5, 5, 601).astype(np.float32)
    up, down = np.full(601, 2, np.float32), np.full(601, 3, np.float32)
    total = DosCurve(spin="total")
    assert (total(dos_record(record_of, nacl, energies, up, down))["dos_per_ev"] == 5).all()
    assert (DosCurve()(dos_record(record_of, nacl, energies, up, down))["dos_per_ev"] == 2).all()
    assert total(dos_record(record_of, nacl, energies, up)) is None


def test_gaps_are_interpolated(record_of, nacl):
    energies = np.linspace(0, 600, 601).astype(np.float32)
    up = energies.copy()
    up[[0, 100, 101, 600]] = np.nan
    arrays = DosCurve()(dos_record(record_of, nacl, energies, up))
    assert arrays["dos_per_ev"][[0, 100, 101, 600]].tolist() == [1, 100, 101, 599]


def test_normalization(record_of, nacl):
    energies = np.linspace(-2, 2, 601).astype(np.float32)
    record = dos_record(record_of, nacl, energies, np.full(601, 16, np.float32))
    per_atom = DosCurve(normalization="per_atom")(record)["dos_per_ev"]
    unit = DosCurve(normalization="unit_area")(record)["dos_per_ev"]
    np.testing.assert_allclose(per_atom, 2)
    np.testing.assert_allclose(unit, 0.25, rtol=1e-6)


def test_broken(record_of, nacl):
    energies = np.linspace(0, 1, 601).astype(np.float32)
    with pytest.raises(ValueError, match="no finite"):
        DosCurve()(dos_record(record_of, nacl, energies, np.full(601, np.nan, np.float32)))
    with pytest.raises(ValueError, match="length"):
        DosCurve()(dos_record(record_of, nacl, energies, np.ones(600, np.float32)))
    zero = dos_record(record_of, nacl, energies, np.zeros(601, np.float32))
    with pytest.raises(ValueError, match="no area"):
        DosCurve(normalization="unit_area")(zero)
    with pytest.raises(ValueError, match="window_ev"):
        DosCurve(window_ev=(1, -1))
