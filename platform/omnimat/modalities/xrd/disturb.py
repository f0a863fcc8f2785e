"""How an experiment changes powder patterns, for many of them at a time and as drawn before.

Everything here is a pure function of arrays with a row for each pattern, in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from omnimat.modalities.xrd.features import TOP_INTENSITY, XrdPattern

Float = NDArray[np.floating[Any]]

# A shift is not applied if it leaves less than this fraction of the strongest peak in the range.
_LEAST_TOP = 0.01
_ROUNDING = 1e-3  # of a step, which is what float32 keeps of some thousands of steps
_WRAP_DEGREE = 10.0  # what is broadened beyond one end comes in at the other if that is too short
_LINE_REACH = 6.0  # in sigma


@dataclass(frozen=True, slots=True)
class Disturbances:
    """What is done to n patterns; what is 0 for all of them is left out.

    Attributes:
        zero_shift_degree: the zero errors, shape (n, 1).
        strain: the relative changes of the lattice spacings, shape (n, 1).
        thermal_b_angstrom2: the B of their Debye-Waller factors, shape (n, 1).
        second_line: the intensity of the second line relative to the first, shape (n, 1).
        log_factors: logarithms of factors on the intensity at even distances, shape (n, knots).
        knot_degree: their distance.
        line_height: the height of the lines of an impurity, shape (n, lines).
        line_degree: their angles, shape (n, lines).
        broadening_sigma_degree: the standard deviations of the broadening, shape (n, 1).
        lorentzian: the shares of a Lorentzian in it, shape (n, 1).
        background: the heights of the background, shape (n, 1).
        coefficients: those of the Chebyshev polynomials in it, shape (n, terms).
        decay_degree: the angle in which its decaying part falls by e, shape (n, 1).
        cubic_share: the share of the polynomials, shape (n, 1).
        poisson_noise: the relative deviation of the counts of the strongest peak, shape (n, 1).
        gaussian_noise: the deviation of what does not depend on the intensity, shape (n, 1).
        normal: standard normal numbers, shape (n, num_points).
    """

    zero_shift_degree: Float
    strain: Float
    thermal_b_angstrom2: Float
    second_line: Float
    log_factors: Float
    knot_degree: float
    line_height: Float
    line_degree: Float
    broadening_sigma_degree: Float
    lorentzian: Float
    background: Float
    coefficients: Float
    decay_degree: Float
    cubic_share: Float
    poisson_noise: Float
    gaussian_noise: Float
    normal: Float


def disturbed(curves: Float, pattern: XrdPattern, drawn: Disturbances) -> NDArray[np.float32]:
    """Change intensities, shift and broaden patterns, then add background and noise.

    Args:
        curves: intensities on the pattern's grid, at most 100, shape (n, num_points).
        pattern: settings of the grid.
        drawn: what is done to each of them.

    Returns:
        The intensities from 0 to 100, shape (n, num_points).
    """
    changed = respread(curves.astype(np.float32) / TOP_INTENSITY, pattern, drawn)
    changed = damped(shifted(changed, pattern, drawn), pattern, drawn)
    changed = with_lines(changed, pattern, drawn)
    changed = broadened(changed, pattern, drawn) + background(pattern, drawn)
    return pattern.finished(noisy(changed, drawn)).astype(np.float32)


def respread(curves: Float, pattern: XrdPattern, drawn: Disturbances) -> Float:
    """Multiply by the exponentials of lines between the logarithms at the knots."""
    if not drawn.log_factors.any():
        return curves
    places = np.arange(pattern.num_points) * (pattern.step_degree / drawn.knot_degree)
    left = places.astype(np.int64)
    part = (places - left).astype(curves.dtype)
    knots = drawn.log_factors.astype(curves.dtype)
    logs = knots[:, left] * (1 - part) + knots[:, left + 1] * part
    return topped(curves * np.exp(logs))


def shifted(curves: Float, pattern: XrdPattern, drawn: Disturbances) -> Float:
    """Move the intensity of each angle to its shifted angle; beyond the range it is 0."""
    if not (drawn.zero_shift_degree.any() or drawn.strain.any() or drawn.second_line.any()):
        return curves
    half = np.radians(pattern.two_theta_degree) / 2
    zero = np.radians(drawn.zero_shift_degree) / 2
    # A float32 is out by some 1e-5 degrees.
    sines = (np.sin(half) * np.cos(zero) - np.cos(half) * np.sin(zero)).astype(np.float32)
    moved = np.zeros_like(curves)
    for share, ratio in _lines(pattern, drawn):
        scale = (ratio * (1 + drawn.strain)).astype(np.float32)
        places = _places(np.arcsin((scale * sines).clip(-1, 1)), pattern)
        moved += share.astype(curves.dtype) * interpolated(curves, places)
    top = moved.max(axis=1, keepdims=True)
    is_seen = top > _LEAST_TOP
    return np.where(is_seen, moved / np.where(is_seen, top, 1), curves)


def damped(curves: Float, pattern: XrdPattern, drawn: Disturbances) -> Float:
    """Weaken what lies at large angles by a Debye-Waller factor."""
    if not drawn.thermal_b_angstrom2.any():
        return curves
    s = np.sin(np.radians(pattern.two_theta_degree) / 2) / pattern.wavelength_angstrom
    exponent = (-2 * s**2).astype(curves.dtype) * drawn.thermal_b_angstrom2.astype(curves.dtype)
    return topped(curves * np.exp(exponent))


def _lines(pattern: XrdPattern, drawn: Disturbances) -> Iterator[tuple[Float, float]]:
    """Give the lines of the radiation: shares, and the ratio of the mean wavelength to theirs."""
    if not drawn.second_line.any():
        yield np.ones_like(drawn.strain), 1.0
        return
    second = drawn.second_line
    shares = (1 / (1 + second), second / (1 + second))
    for share, wavelength in zip(shares, pattern.doublet_angstrom(), strict=True):
        yield share, pattern.wavelength_angstrom / wavelength


def _places(theta: Float, pattern: XrdPattern) -> Float:
    """Turn Bragg angles in radians into places on the grid, in steps."""
    steps_per_radian = 2 * np.degrees(1) / pattern.step_degree
    first = pattern.two_theta_min_degree / pattern.step_degree
    places: Float = theta * theta.dtype.type(steps_per_radian) - theta.dtype.type(first)
    return places


def interpolated(curves: Float, places: Float) -> Float:
    """Read each curve at its own places, shape (n, m), by lines; beyond the ends it is 0."""
    num_points = curves.shape[1]
    padded = np.pad(curves, ((0, 0), (1, 2)))
    is_inside = (places > -_ROUNDING) & (places < num_points - 1 + _ROUNDING)
    from_pad = np.where(is_inside, places + 1, 0)
    left = from_pad.astype(np.intp)
    part = from_pad - left.astype(from_pad.dtype)
    index = left + np.arange(len(curves))[:, None] * (num_points + 3)
    flat = padded.ravel()
    before, after = flat.take(index), flat.take(index + 1)
    return np.where(is_inside, before + (after - before) * part, 0)


def with_lines(curves: Float, pattern: XrdPattern, drawn: Disturbances) -> Float:
    """Add the lines of an impurity, as sharp as the reflections of a computed pattern."""
    if not drawn.line_height.any():
        return curves
    sigma = pattern.smearing_sigma_degree / pattern.step_degree
    offsets = np.arange(-int(_LINE_REACH * sigma) - 1, int(_LINE_REACH * sigma) + 2)
    places = (drawn.line_degree - pattern.two_theta_min_degree) / pattern.step_degree
    points = np.rint(places).astype(np.int64)[..., None] + offsets
    heights = np.exp(-0.5 * ((points - places[..., None]) / sigma) ** 2)
    rows, _, _ = np.indices(points.shape, sparse=True)
    is_inside = (points >= 0) & (points < curves.shape[1])
    added = np.zeros_like(curves)
    values = np.where(is_inside, heights * drawn.line_height[..., None], 0)
    np.add.at(added, (rows, points.clip(0, curves.shape[1] - 1)), values)
    return topped(curves + added)


def broadened(curves: Float, pattern: XrdPattern, drawn: Disturbances) -> Float:
    """Convolve each pattern with a pseudo-Voigt profile of its own; beyond the ends it is 0."""
    if not drawn.broadening_sigma_degree.any():
        return curves
    from scipy.fft import irfft, next_fast_len, rfft, rfftfreq  # 0.2 s of import

    num_points = curves.shape[1]
    length = next_fast_len(num_points + round(_WRAP_DEGREE / pattern.step_degree), real=True)
    sigma = drawn.broadening_sigma_degree.astype(curves.dtype)
    omega = (2 * np.pi * rfftfreq(length, pattern.step_degree)).astype(curves.dtype)
    share = drawn.lorentzian.astype(curves.dtype)
    damping = (1 - share) * np.exp(-0.5 * (sigma * omega) ** 2)
    damping += share * np.exp(-half_width(sigma) * omega)
    broad = irfft(rfft(curves, length, axis=1) * damping, length, axis=1)[:, :num_points]
    return topped(broad.clip(min=0))


def half_width(sigma: Float) -> Float:
    """Return half the full width at half maximum of a Gaussian."""
    half: Float = sigma * sigma.dtype.type(np.sqrt(2 * np.log(2)))
    return half


def background(pattern: XrdPattern, drawn: Disturbances) -> Float:
    """Return smooth curves of the heights of the background, shape (n, num_points) or (n, 1)."""
    if not drawn.background.any():
        return drawn.background.astype(np.float32)
    grid = pattern.two_theta_degree
    terms = chebyshev.chebvander(np.linspace(-1, 1, len(grid)), drawn.coefficients.shape[1] - 1)
    cubic = drawn.coefficients.astype(np.float32) @ terms.T.astype(np.float32)
    passed = (grid - grid[0]).astype(np.float32) / drawn.decay_degree.astype(np.float32)
    share = drawn.cubic_share.astype(np.float32)
    mixture = share * _from_zero_to_one(cubic) + (1 - share) * np.exp(-passed)
    return drawn.background.astype(np.float32) * _from_zero_to_one(mixture)


def noisy(curves: Float, drawn: Disturbances) -> Float:
    """Add normal noise, whose variance has a part that grows with the intensity, as counts have.

    A pattern that falls below 0 is lifted: no count is negative, so noise stands on a background,
    and half of it must not be lost where an envelope is taken off.
    """
    counted, constant = (
        strength.astype(curves.dtype) ** 2
        for strength in (drawn.poisson_noise, drawn.gaussian_noise)
    )
    noisy = curves + np.sqrt(counted * curves + constant) * drawn.normal.astype(curves.dtype)
    lifted: Float = noisy - noisy.min(axis=1, keepdims=True).clip(max=0)
    return lifted


def topped(curves: Float) -> Float:
    """Scale each curve to a maximum of 1."""
    scaled: Float = curves / curves.max(axis=-1, keepdims=True)
    return scaled


def _from_zero_to_one(curves: Float) -> Float:
    return topped(curves - curves.min(axis=-1, keepdims=True))
