import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure

from omnimat.materials.record import Record
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.modalities.xrd.features import XrdPattern


def test_nacl_has_nine_peaks(record_of, nacl):
    intensity = XrdPattern()(record_of(nacl))["intensity"]
    inner = intensity[1:-1]
    peaks = np.flatnonzero((inner > intensity[:-2]) & (inner > intensity[2:]) & (inner > 0.1)) + 1
    expected = XRDCalculator().get_pattern(nacl).x
    assert len(peaks) == len(expected) == 9
    # Half a step, and a little more where the flanks of neighbouring peaks overlap.
    np.testing.assert_allclose(peaks * 0.1, expected, atol=0.06)


def test_conventional_and_primitive_cell_agree(record_of, nacl):
    primitive = nacl.get_primitive_structure()
    assert len(primitive) == 2
    pattern = XrdPattern()
    np.testing.assert_allclose(
        pattern(record_of(nacl))["intensity"],
        pattern(record_of(primitive))["intensity"],
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("radiation", "two_theta"), [("CuKa", (0, 90)), ("MoKa", (10, 60)), (1.1, (0, 180))]
)
def test_reflections_are_pymatgens(record_of, triclinic, radiation, two_theta):
    pattern = XrdPattern(
        radiation=radiation, two_theta_min_degree=two_theta[0], two_theta_max_degree=two_theta[1]
    )
    theirs = XRDCalculator(radiation).get_pattern(
        triclinic, scaled=False, two_theta_range=two_theta
    )
    angle, intensity, miller = pattern.reflections(record_of(triclinic).structure)
    g = np.linalg.norm(
        miller @ triclinic.lattice.reciprocal_lattice_crystallographic.matrix, axis=1
    )
    wavelength = pattern.wavelength_angstrom
    np.testing.assert_allclose(wavelength * g / 2, np.sin(np.radians(angle / 2)), rtol=1e-12)
    order = np.argsort(angle)
    angle, intensity = angle[order], intensity[order]
    # pymatgen counts g and -g, merges equal angles and drops peaks below 1e-5 of the strongest.
    kept = intensity > 1e-5 * intensity.max()
    assert len(theirs.x) == kept.sum()
    np.testing.assert_allclose(angle[kept], theirs.x, atol=1e-6)
    np.testing.assert_allclose(2 * intensity[kept], theirs.y, rtol=1e-8)


@pytest.mark.parametrize("sigma", [0.15, 0.3, 1.0])
def test_curve_is_the_sum_of_gaussians(record_of, triclinic, sigma):
    pattern = XrdPattern(smearing_sigma_degree=sigma)
    curve = pattern(record_of(triclinic))["intensity"]
    sticks = XRDCalculator().get_pattern(triclinic)
    grid = np.arange(900) * 0.1
    smeared = (sticks.y * np.exp(-0.5 * ((grid[:, None] - sticks.x) / sigma) ** 2)).sum(axis=1)
    assert curve.max() == pytest.approx(100)
    # pymatgen leaves out reflections below 1e-3, we leave out Gaussians beyond six sigma.
    np.testing.assert_allclose(curve, 100 * smeared / smeared.max(), atol=5e-3)


def test_grid_follows_the_settings(record_of, nacl):
    pattern = XrdPattern(two_theta_min_degree=20, two_theta_max_degree=60, step_degree=0.02)
    part = pattern(record_of(nacl))["intensity"]
    assert pattern.num_points == 2000
    assert part.shape == pattern.fields[0].item_shape == (2000,)
    whole = XrdPattern(step_degree=0.02)(record_of(nacl))["intensity"]
    np.testing.assert_allclose(part, whole[1000:3000], atol=1e-4)


def test_refuses_what_has_no_pattern(record_of):
    heavy = Structure(Lattice.cubic(4), ["Og"], [[0, 0, 0]])
    with pytest.raises(ValueError, match="Og"):
        XrdPattern()(record_of(heavy))
    dense = Structure(Lattice.cubic(0.5), ["Po"], [[0, 0, 0]])
    with pytest.raises(ValueError, match="no reflection"):
        XrdPattern()(record_of(dense))
    with pytest.raises(ValueError, match="radiation"):
        XrdPattern(radiation="XuKa")
    with pytest.raises(ValueError, match="two_theta"):
        XrdPattern(two_theta_min_degree=100)


def test_a_pattern_of_another_wavelength_is_converted(nacl, record_of):
    """Bragg's law: what copper shows at one angle, molybdenum shows at a smaller one."""
    copper, molybdenum = XrdPattern(), XrdPattern(radiation="MoKa")
    crystal = record_of(nacl)
    measured = MeasuredPattern(
        molybdenum.two_theta_degree.astype(np.float32),
        molybdenum(crystal)["intensity"],
        molybdenum.wavelength_angstrom,
    )
    given = copper(Record("measured", {"xrd": measured}))["intensity"]
    expected = copper(crystal)["intensity"]
    peaks = [grid[np.argmax(grid)] for grid in (given, expected)]
    assert peaks == [100, 100]
    assert abs(int(np.argmax(given)) - int(np.argmax(expected))) <= 1


def test_a_given_pattern_goes_before_a_derived_one(nacl, record_of):
    angles = np.arange(0, 90, 0.1, dtype=np.float32)
    flat = MeasuredPattern(angles, np.ones_like(angles))
    record = record_of(nacl, xrd=flat)
    assert (XrdPattern()(record)["intensity"] == 100).all()
    assert (XrdPattern(origin="given")(record)["intensity"] == 100).all()
    derived = XrdPattern(origin="derived")(record)["intensity"]
    np.testing.assert_array_equal(derived, XrdPattern()(record_of(nacl))["intensity"])
    assert XrdPattern(origin="given")(record_of(nacl)) is None
    assert XrdPattern(origin="derived")(Record("measured", {"xrd": flat})) is None
