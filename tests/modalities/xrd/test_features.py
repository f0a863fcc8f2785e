import tracemalloc

import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import WAVELENGTHS, XRDCalculator
from pymatgen.core import Lattice, Structure

from omnimat.materials.record import Record
from omnimat.materials.record import Structure as RecordStructure
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.modalities.xrd.scattering import WAVELENGTHS_ANGSTROM, scattering_coefficients


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


def test_averaging_keeps_the_counts_of_small_steps():
    """A peak narrower than the grid may fall between its points, but not between its steps."""
    angles = np.arange(0, 90, 0.01, dtype=np.float32)
    narrow = np.exp(-0.5 * ((angles - 40.05) / 0.015) ** 2) + np.exp(
        -0.5 * ((angles - 60.0) / 0.015) ** 2
    )
    measured = MeasuredPattern(angles, narrow.astype(np.float32))
    values = {}
    for points in ("interpolated", "averaged"):
        curve = XrdPattern(given_points=points).on_grid(measured)
        values[points] = curve[398:404].sum() / curve[598:604].sum()
    assert values["interpolated"] < 0.02
    assert values["averaged"] == pytest.approx(1, rel=1e-3)


def test_averaging_leaves_a_coarse_pattern_of_straight_lines_alone():
    angles = np.linspace(0, 90, 901, dtype=np.float32)
    ramp = MeasuredPattern(angles, 2 + angles)
    interpolated = XrdPattern().on_grid(ramp)
    averaged = XrdPattern(given_points="averaged").on_grid(ramp)
    np.testing.assert_allclose(averaged[1:], interpolated[1:], rtol=1e-3)


def slowly(pattern, structure):
    """Return the curve and the reflections as one array for each step, without blocks."""
    lattice = structure.lattice_angstrom
    g_max = 2 * np.sin(np.radians(pattern.two_theta_max_degree) / 2) / pattern.wavelength_angstrom
    extent = np.floor(g_max * np.linalg.norm(lattice, axis=1)).astype(int)
    grid = np.indices(2 * extent + 1).reshape(3, -1).T - extent
    half = grid[len(grid) // 2 + 1 :]
    g = np.linalg.norm(half @ np.linalg.inv(lattice).T, axis=1)
    miller, g = half[g <= g_max], g[g <= g_max]
    elements, kind = np.unique(structure.atomic_numbers, return_inverse=True)
    amplitude, width = np.stack([scattering_coefficients(int(z)) for z in elements], axis=1)
    s_squared = (g / 2) ** 2
    fitted = (amplitude * np.exp(-width * s_squared[:, None, None])).sum(axis=2)
    form_factors = elements - 41.78214 * s_squared[:, None] * fitted
    phase = np.exp((2j * np.pi) * (miller @ structure.frac_coords.T))
    factors = (form_factors[:, kind] * phase).sum(axis=1)
    theta = np.arcsin(np.minimum(pattern.wavelength_angstrom * g / 2, 1.0))
    lorentz = (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * np.cos(theta))
    intensity = np.abs(factors) ** 2 * lorentz
    sigma = pattern.smearing_sigma_degree / pattern.step_degree
    reach = int(np.ceil(6 * sigma))
    place = np.degrees(2 * theta) / pattern.step_degree
    points = np.rint(place).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    heights = intensity[:, None] * np.exp(-0.5 * ((points - place[:, None]) / sigma) ** 2)
    count = pattern.num_points + 2 * reach
    curve = np.bincount((points + reach).ravel(), heights.ravel(), count)
    curve = curve[reach : reach + pattern.num_points]
    return curve * (100 / curve.max()), intensity, miller


def atoms(count, edge_angstrom):
    rng = np.random.default_rng(0)
    return RecordStructure(
        edge_angstrom * np.eye(3) + rng.normal(0, 0.3, (3, 3)),
        rng.choice([8, 14, 26, 57], count).astype(np.int32),
        rng.random((count, 3)),
    )


@pytest.mark.parametrize(("count", "edge_angstrom"), [(3, 4), (40, 11), (150, 17)])
def test_blocks_change_no_feature(count, edge_angstrom):
    """The blocks run over reflections, so that no sum over atoms is split.

    Only the last bit of a phase may depend on the number of rows in a matrix product, which single
    precision does not show.
    """
    structure, pattern = atoms(count, edge_angstrom), XrdPattern()
    curve, intensity, miller = slowly(pattern, structure)
    found = pattern.reflections(structure)
    np.testing.assert_array_equal(found.miller, miller)
    np.testing.assert_allclose(found.intensity, intensity, rtol=0, atol=1e-12 * intensity.max())
    np.testing.assert_allclose(pattern.curve(found), curve, rtol=0, atol=1e-10)


def test_memory_does_not_grow_with_reflections_times_atoms():
    structure, pattern = atoms(300, 24), XrdPattern()
    pattern.reflections(atoms(3, 4))  # which reads the tables
    tracemalloc.start()
    found = pattern.reflections(structure)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 16 * 300 * len(found.intensity) > 100e6  # one array of all terms
    assert peak_bytes < 40e6


def test_a_crystal_with_too_many_terms_is_refused_before_they_are_listed():
    structure = atoms(40, 11)
    with pytest.raises(ValueError, match="too large"):
        XrdPattern(max_terms=1000).reflections(structure)
    for vast in (1e5 * np.eye(3), np.diag([1e9, 1, 1])):
        with pytest.raises(ValueError, match="too large"):
            XrdPattern().reflections(RecordStructure(vast, structure.atomic_numbers[:1], ORIGIN))


def test_a_reflection_at_180_degrees_stays_finite():
    """Of a cubic cell with a = wavelength / 2, the reflection 1 0 0 stands there."""
    cell = RecordStructure(0.5 * np.eye(3), np.array([84], np.int32), ORIGIN)
    pattern = XrdPattern(radiation=1.0, two_theta_max_degree=180)
    assert pattern.reflections(cell).intensity.max() < 1e9


ORIGIN = np.zeros((1, 3))


def test_wavelengths_are_those_of_pymatgen():
    assert WAVELENGTHS_ANGSTROM == WAVELENGTHS
