from dataclasses import replace

import numpy as np
import pytest
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Lattice, Structure
from scipy.integrate import quad

from omnimat.materials.record import Record
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.modalities.xrd.augment import XrdAugmentation, march_dollase
from omnimat.modalities.xrd.disturb import disturbed
from omnimat.modalities.xrd.features import XrdPattern

NOTHING = {
    "zero_shift_degree": 0,
    "strain": 0,
    "broadening_sigma_degree": 0,
    "background": 0,
    "texture": 1,
    "poisson_noise": 0,
    "gaussian_noise": 0,
    "second_line": 0,
    "lorentzian": 0,
    "intensity_spread": 0,
    "impurity": 0,
    "thermal_b_angstrom2": 0,
    "scale": 0,
}
STRONGEST = {
    "zero_shift_degree": 2,
    "strain": 0.1,
    "broadening_sigma_degree": 2,
    "background": 1,
    "texture": 0.2,
    "poisson_noise": 0.2,
    "gaussian_noise": 0.1,
    "second_line": 1,
    "lorentzian": 1,
    "intensity_spread": 3,
    "intensity_spread_degree": 0.2,
    "impurity": 1,
    "thermal_b_angstrom2": 20,
    "scale": 1,
}
FINE = XrdPattern(step_degree=0.02)


def only(**strength):
    return XrdAugmentation(**(NOTHING | strength))


def peak_angle(curve, pattern, near):
    """Find the top of the peak within a degree of an angle by a parabola through three points."""
    grid = pattern.two_theta_degree
    top = int(np.argmax(np.where(np.abs(grid - near) < 1, curve, -1)))
    left, middle, right = np.log(curve[top - 1 : top + 2].astype(np.float64))
    return grid[top] + pattern.step_degree * (left - right) / (2 * (left - 2 * middle + right))


@pytest.mark.parametrize("crystal", ["nacl", "triclinic"])
def test_no_strength_changes_nothing(record_of, crystal, request):
    record = record_of(request.getfixturevalue(crystal))
    clean = XrdPattern()(record)["intensity"]
    same = only().measured(record.structure, XrdPattern(), np.random.default_rng(0))
    assert same.dtype == np.float32
    # float64 sums and the float32 result are rounded.
    np.testing.assert_allclose(same, clean, atol=1e-5)


@pytest.mark.parametrize("strength", [{}, STRONGEST], ids=["default", "strongest"])
@pytest.mark.parametrize("crystal", ["nacl", "triclinic"])
def test_a_pattern_stays_a_pattern(record_of, crystal, strength, request):
    structure = record_of(request.getfixturevalue(crystal)).structure
    augmentation = XrdAugmentation(**strength)
    for seed in range(40):
        curve = augmentation.measured(structure, XrdPattern(), np.random.default_rng(seed))
        assert curve.shape == (900,)
        assert np.isfinite(curve).all()
        assert curve.min() >= 0
        assert curve.max() == pytest.approx(100, rel=1e-6)


def test_the_seed_decides_and_inputs_are_left_alone(record_of, triclinic):
    record = record_of(triclinic)
    clean = XrdPattern()(record)["intensity"]
    before = clean.copy()

    def disturbed(seed):
        return XrdAugmentation().disturbed(clean, XrdPattern(), np.random.default_rng(seed))

    np.testing.assert_array_equal(disturbed(1), disturbed(1))
    assert np.abs(disturbed(1) - disturbed(2)).max() > 1
    np.testing.assert_array_equal(clean, before)


def test_every_strength_does_something_of_its_own(record_of, triclinic):
    structure = record_of(triclinic).structure
    clean = only().measured(structure, FINE, np.random.default_rng(0))
    new = {"impurity": 0.5, "thermal_b_angstrom2": 3, "scale": 0.3}
    all_on = XrdAugmentation(second_line=0.5, intensity_spread=0.5, **new)
    each = all_on.model_dump(include=NOTHING.keys() - {"lorentzian"})
    for name, value in each.items():
        changed = only(**{name: value}).measured(structure, FINE, np.random.default_rng(0))
        # The strength drawn may be a small part of the largest; float32 rounds to 1e-5.
        assert np.abs(changed - clean).max() > 0.01, name


def test_a_zero_error_moves_all_peaks_alike(record_of, nacl):
    clean = FINE(record_of(nacl))["intensity"]
    moved = only(zero_shift_degree=0.5).disturbed(clean, FINE, np.random.default_rng(3))
    shifts = [
        peak_angle(moved, FINE, near) - peak_angle(clean, FINE, near)
        for near in XRDCalculator().get_pattern(nacl).x[:6]
    ]
    assert 0.01 < abs(shifts[0]) <= 0.5
    # The tolerance is a hundredth of the standard deviation of a peak.
    np.testing.assert_allclose(shifts, shifts[0], atol=3e-3)


def test_strain_moves_peaks_as_a_larger_cell_does(record_of, nacl):
    clean = FINE(record_of(nacl))["intensity"]
    strained = only(strain=0.03).disturbed(clean, FINE, np.random.default_rng(3))
    before = np.array([peak_angle(clean, FINE, x) for x in (27.3, 31.7)])
    after = np.array([peak_angle(strained, FINE, x) for x in before])
    strain = np.sin(np.radians(before / 2)) / np.sin(np.radians(after / 2)) - 1
    assert 0.001 < abs(strain[0]) <= 0.03
    np.testing.assert_allclose(strain, strain[0], atol=1e-4)
    larger = Structure(Lattice.cubic(5.64 * (1 + strain[0])), nacl.species, nacl.frac_coords)
    expected = FINE(record_of(larger))["intensity"]
    # Smearing has the same width at all angles, but straining a curve stretches it a little, and
    # the Lorentz factor and the form factors move along.
    np.testing.assert_allclose(strained, expected, atol=4)


def test_broadening_adds_variances(record_of):
    """A peak of sigma 0.3 broadened by sigma s has the width (0.3^2 + s^2)^(1/2)."""
    grid = FINE.two_theta_degree
    peak = 100 * np.exp(-0.5 * ((grid - 45) / 0.3) ** 2)
    augmentation = only(broadening_sigma_degree=1)
    broad = augmentation.disturbed(peak, FINE, np.random.default_rng(5))
    drawn = augmentation.drawn(FINE, [np.random.default_rng(5)])
    sigma = np.hypot(0.3, drawn.broadening_sigma_degree.item())
    assert sigma > 0.35
    # float32 rounds to 1e-5.
    np.testing.assert_allclose(broad, 100 * np.exp(-0.5 * ((grid - 45) / sigma) ** 2), atol=1e-3)


def test_a_lorentzian_reaches_further_with_the_same_half_width():
    grid = FINE.two_theta_degree
    peak = 100 * np.exp(-0.5 * ((grid - 45) / 0.02) ** 2)
    augmentation = only(broadening_sigma_degree=0.5, lorentzian=1)
    broad = augmentation.disturbed(peak, FINE, np.random.default_rng(5))
    drawn = augmentation.drawn(FINE, [np.random.default_rng(5)])
    sigma = drawn.broadening_sigma_degree.item()
    assert drawn.lorentzian.item() > 0.2
    half = sigma * np.sqrt(2 * np.log(2))
    # The sharp peak has a width of its own, which is why the halves differ by some percent.
    at = np.interp([45 - half, 45 + half], grid, broad)
    np.testing.assert_allclose(at, 50, atol=3)
    assert np.interp(45 + 5 * half, grid, broad) > 0.5  # a Gaussian has fallen to 3e-6


def test_the_second_line_stands_where_its_wavelength_puts_it():
    grid = FINE.two_theta_degree
    peak = 100 * np.exp(-0.5 * ((grid - 80) / 0.03) ** 2)
    doubled = only(second_line=1).disturbed(peak, FINE, np.random.default_rng(1))
    sine = np.sin(np.radians(40)) / FINE.wavelength_angstrom
    first, second = np.degrees(2 * np.arcsin(np.array(FINE.doublet_angstrom()) * sine))
    assert second - first > 0.2
    assert peak_angle(np.where(grid < 80, doubled, 0), FINE, 80) == pytest.approx(first, abs=0.01)
    assert peak_angle(np.where(grid > 80, doubled, 0), FINE, 80) == pytest.approx(second, abs=0.01)


def test_a_radiation_without_a_second_line_is_refused():
    with pytest.raises(ValueError, match=r"CuKa1 has no second line.*MoKa"):
        only(second_line=0.5).check(XrdPattern(radiation="CuKa1"))
    only(second_line=0.5).check(FINE)
    only().check(XrdPattern(radiation=1.1))


def test_an_intensity_spread_moves_no_peak(record_of, nacl):
    clean = FINE(record_of(nacl))["intensity"]
    spread = only(intensity_spread=1).disturbed(clean, FINE, np.random.default_rng(8))
    heights = []
    for near in XRDCalculator().get_pattern(nacl).x:
        # A factor that varies over a degree tilts a peak of 0.3 degrees a little.
        assert peak_angle(spread, FINE, near) == pytest.approx(near, abs=0.2)
        heights.append(np.interp(near, FINE.two_theta_degree, spread / np.maximum(clean, 1e-9)))
    assert max(heights) > 1.5 * min(heights)


def test_a_scaled_crystal_has_the_lines_of_a_larger_one(record_of, nacl):
    clean = FINE(record_of(nacl))["intensity"]
    augmentation = only(scale=0.5)
    scaled = augmentation.disturbed(clean, FINE, np.random.default_rng(1))
    scale = 1 + augmentation.drawn(FINE, [np.random.default_rng(1)]).strain.item()
    assert 1.05 < scale < 1.5
    lines = (
        XRDCalculator().get_pattern(nacl.copy().apply_strain(scale - 1), two_theta_range=(20, 60)).x
    )
    for line in lines:
        assert peak_angle(scaled, FINE, line) == pytest.approx(line, abs=0.02)


def test_vibrations_weaken_large_angles(record_of, nacl):
    clean = FINE(record_of(nacl))["intensity"]
    augmentation = only(thermal_b_angstrom2=3)
    damped = augmentation.disturbed(clean, FINE, np.random.default_rng(1))
    b = augmentation.drawn(FINE, [np.random.default_rng(1)]).thermal_b_angstrom2.item()
    low, high = (np.searchsorted(FINE.two_theta_degree, angle) for angle in (31.7, 83.9))
    s2 = (np.sin(np.radians([15.85, 41.95])) / FINE.wavelength_angstrom) ** 2
    ratio = (damped[high] / damped[low]) / (clean[high] / clean[low])
    assert ratio < 0.9
    assert ratio == pytest.approx(np.exp(-2 * b * (s2[1] - s2[0])), rel=1e-2)


def test_background_that_was_added_is_taken_off_again(record_of, nacl):
    left = XrdPattern(smearing_sigma_degree=0.1)
    taken = XrdPattern(smearing_sigma_degree=0.1, background_window_degree=5)
    clean = taken(record_of(nacl))["intensity"]
    away = clean < 1e-3
    heights = []
    for seed in range(20):
        before, after = (
            only(background=0.5).disturbed(clean, pattern, np.random.default_rng(seed))
            for pattern in (left, taken)
        )
        heights.append((before[away].max(), after[away].max()))
    before, after = np.array(heights).T
    assert before.max() > 20
    assert (after < 0.4 * before + 0.1).all()  # of a steep one more is left


def test_a_background_is_taken_off_once(record_of, triclinic):
    taken = XrdPattern(background_window_degree=2)
    record = record_of(triclinic)
    derived = taken(record)["intensity"]
    twice = taken.finished(derived)
    assert np.abs(twice - derived).max() > 0.1  # peaks of 0.3 degrees overlap: they are hills too
    raw = taken.smeared(taken.reflections(record.structure))
    pattern = MeasuredPattern(taken.two_theta_degree, raw)
    given = Record("given", {"xrd": pattern})
    for one in (record, given):
        view = only().view(one, taken, np.random.default_rng(0))["intensity"]
        np.testing.assert_allclose(view, taken(one)["intensity"], atol=1e-3)


def test_stored_patterns_vary_by_their_generators_alone(record_of, nacl, triclinic):
    patterns = [XrdPattern()(record_of(one))["intensity"] for one in (nacl, triclinic)]
    arrays = {"intensity": np.stack(patterns)}
    generators = [np.random.default_rng(seed) for seed in (1, 2)]
    varied = XrdAugmentation().vary(arrays, XrdPattern(), generators)["intensity"]
    alone = XrdAugmentation().disturbed(patterns[1], XrdPattern(), np.random.default_rng(2))
    # A Fourier transform of several rows may add in another order than one of a single row.
    np.testing.assert_allclose(varied[1], alone, atol=1e-4)
    np.testing.assert_array_equal(arrays["intensity"], np.stack(patterns))


def slowly_disturbed(curve, pattern, drawn, row):
    """Do the same to one pattern in float64, by loops and sums in place of transforms."""
    grid, step = pattern.two_theta_degree, pattern.step_degree
    names = drawn.__dataclass_fields__.keys() - {"knot_degree"}
    one = {name: np.squeeze(getattr(drawn, name)[row]) for name in names}
    knots = np.arange(len(one["log_factors"])) * drawn.knot_degree
    curve = curve / 100 * np.exp(np.interp(grid - grid[0], knots, one["log_factors"]))
    curve = curve / curve.max()
    second, moved = one["second_line"], 0
    for share, wavelength in zip((1, second), pattern.doublet_angstrom(), strict=True):
        sines = np.sin(np.radians(grid - one["zero_shift_degree"]) / 2) * (1 + one["strain"])
        sines = sines * pattern.wavelength_angstrom / wavelength
        sources = np.degrees(2 * np.arcsin(sines))
        moved = moved + share * np.interp(sources, grid, curve, left=0, right=0)
    s = np.sin(np.radians(grid) / 2) / pattern.wavelength_angstrom
    curve = moved / moved.max() * np.exp(-2 * one["thermal_b_angstrom2"] * s**2)
    curve = curve / curve.max()
    for height, angle in zip(one["line_height"], one["line_degree"], strict=True):
        curve = curve + height * np.exp(
            -0.5 * ((grid - angle) / pattern.smearing_sigma_degree) ** 2
        )
    sigma, share = one["broadening_sigma_degree"], one["lorentzian"]
    half, apart = sigma * np.sqrt(2 * np.log(2)), grid[:, None] - grid
    gaussian = np.exp(-0.5 * (apart / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    lorentzian = half / np.pi / (apart**2 + half**2)
    curve = step * (((1 - share) * gaussian + share * lorentzian) @ curve)
    curve = curve / curve.max()
    smooth = np.polynomial.chebyshev.chebval(np.linspace(-1, 1, len(grid)), one["coefficients"])
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    decay = np.exp(-(grid - grid[0]) / one["decay_degree"])
    hill = one["cubic_share"] * smooth + (1 - one["cubic_share"]) * decay
    curve = curve + one["background"] * (hill - hill.min()) / np.ptp(hill)
    variance = one["poisson_noise"] ** 2 * curve + one["gaussian_noise"] ** 2
    curve = curve + np.sqrt(variance) * one["normal"]
    return pattern.finished(curve - min(curve.min(), 0))


def test_many_at_once_are_disturbed_as_one_by_one_in_the_slow_way(record_of, nacl, triclinic):
    pattern = XrdPattern(
        two_theta_min_degree=5,
        step_degree=0.05,
        smearing_sigma_degree=0.08,
        background_window_degree=4,
    )
    curves = np.stack([pattern(record_of(one))["intensity"] for one in (nacl, triclinic)])
    each = {"second_line": 0.5, "lorentzian": 1, "intensity_spread": 1, "impurity": 0.5}
    more = {"thermal_b_angstrom2": 3, "scale": 0.3, "intensity_spread_degree": 0.25, "rarity": 2}
    augmentation = XrdAugmentation(**each, **more)
    for seed in range(4):
        drawn = augmentation.drawn(pattern, [np.random.default_rng([seed, row]) for row in (0, 1)])
        # The sums need profiles of some points; the transform takes sharper ones too.
        drawn = replace(drawn, broadening_sigma_degree=drawn.broadening_sigma_degree + 0.1)
        fast = disturbed(curves, pattern, drawn)
        slow = [slowly_disturbed(curve, pattern, drawn, row) for row, curve in enumerate(curves)]
        # The transform wraps the tails of a Lorentzian around, which the sum cuts off.
        np.testing.assert_allclose(fast, slow, atol=0.05)


def test_rare_disturbances_are_mostly_weak():
    generators = [np.random.default_rng(seed) for seed in range(200)]
    strengths = XrdAugmentation(gaussian_noise=0.1, rarity=3).drawn(XrdPattern(), generators)
    quartiles = np.quantile(strengths.gaussian_noise, [0.25, 0.5, 0.75])
    # The cubes of a quarter, a half and three quarters; 200 draws tell quartiles to a few percent.
    np.testing.assert_allclose(quartiles, 0.1 * np.array([1, 8, 27]) / 64, rtol=0.4)


def test_an_impurity_adds_four_lines_at_most(record_of, nacl):
    clean = FINE(record_of(nacl))["intensity"]
    dirty = only(impurity=0.4).disturbed(clean, FINE, np.random.default_rng(8))
    added = dirty / dirty[clean.argmax()] * 100 - clean
    assert 1 < added.max() <= 40 + 1e-3
    is_top = (added[1:-1] > added[:-2]) & (added[1:-1] >= added[2:]) & (added[1:-1] > 0.1)
    assert 1 <= is_top.sum() <= 4


def test_background_is_smooth_and_bounded(record_of, nacl):
    clean = XrdPattern()(record_of(nacl))["intensity"]
    away = clean < 1e-3
    heights = []
    for seed in range(30):
        curve = only(background=0.2).disturbed(clean, XrdPattern(), np.random.default_rng(seed))
        heights.append(curve[away].max())
        assert np.abs(np.diff(curve[away], 2)[np.diff(np.flatnonzero(away), 2) == 0]).max() < 0.2
    assert max(heights) <= 20 + 1e-4
    assert max(heights) > 10


def test_counting_noise_grows_with_the_root_of_the_intensity():
    flat = np.r_[np.full(450, 25.0), np.full(449, 100.0), 100.0]
    ratios = []
    for seed in range(20):
        noisy = only(poisson_noise=0.05).disturbed(flat, XrdPattern(), np.random.default_rng(seed))
        ratios.append(noisy[450:].std() / noisy[:450].std())
    # 450 points give a standard deviation to 3 %, and 20 patterns the mean ratio to 1 %.
    assert np.mean(ratios) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize("r", [0.3, 0.8, 1.0, 2.5])
def test_march_dollase_is_one_on_average(r):
    average, _ = quad(lambda cosine: march_dollase(np.array(cosine), r), 0, 1)
    assert average == pytest.approx(1, rel=1e-8)


def test_texture_tells_the_planes_of_a_family_apart(record_of, nacl):
    """The peak of {200} is a mean over its planes, one of which may be the preferred plane."""
    structure = record_of(nacl).structure
    found = XrdPattern().reflections(structure)
    family = np.sort(np.abs(found.miller), axis=1).tolist()
    of_family = np.array([indices == [0, 0, 2] for indices in family])
    assert of_family.sum() == 3  # half of the six
    strongest = []
    for seed in range(20):
        textured = only(texture=0.3).textured(found, structure, np.random.default_rng(seed))
        np.testing.assert_array_equal(textured.two_theta_degree, found.two_theta_degree)
        ratios = textured.intensity[of_family] / found.intensity[of_family]
        strongest.append(ratios.max() / ratios.min())
    # A preferred plane {100} or {110} tells them apart; {111} does not.
    assert max(strongest) > 2
    assert min(strongest) == pytest.approx(1)


def test_a_shift_never_loses_the_only_peak():
    grid = XrdPattern().two_theta_degree
    lone = 100 * np.exp(-0.5 * ((grid - 89.8) / 0.05) ** 2)
    for seed in range(20):
        curve = only(strain=0.1).disturbed(lone, XrdPattern(), np.random.default_rng(seed))
        assert curve.max() == 100
        assert (curve > 1).sum() < 20
