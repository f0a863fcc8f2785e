"""Random changes of a powder pattern, like those of an experiment.

The preferred orientation of the grains changes the intensities of single reflections, so it is
applied to these. All other changes are applied to the curve, so that they also work on a stored
curve, for which a random factor on the intensities can take the place of texture. The functions do
not change their input, and the same pattern and state of the generator give the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray
from pydantic import Field

from omnimat.materials.record import Record, Structure
from omnimat.modalities.layout import Arrays
from omnimat.modalities.origin import of_origin
from omnimat.modalities.views import ArrayAugmentationSettings
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.modalities.xrd.curves import scaled
from omnimat.modalities.xrd.features import TOP_INTENSITY, Reflections, XrdPattern

Float = NDArray[np.floating[Any]]

_BACKGROUND_DEGREE = 3
_BACKGROUND_DECAY_DEGREE = (5.0, 30.0)
# A shift is not applied if it leaves less than this fraction of the strongest peak in the range.
_LEAST_TOP = 0.01
_ROUNDING = 1e-9  # of a step
_SPREAD_LENGTH_DEGREE = 1.0
_LORENTZIAN_REACH = 10.0  # in half widths; 6 % of the area lie beyond


class XrdAugmentation(ArrayAugmentationSettings):
    """How strongly a pattern is changed.

    Each strength is the upper end of a range from which the actual strength is drawn. With all
    strengths at 0 and ``texture`` at 1, a pattern stays as it is.

    Attributes:
        zero_shift_degree: largest shift of the whole pattern in either direction, as caused by the
            zero error of a goniometer. Typical: 0.02 to 0.2.
        strain: largest relative change of all lattice spacings in either direction, as caused by
            temperature, pressure and composition: sin(theta) is divided by 1 + strain. Typical:
            0.01, which is also about the error of PBE lattice constants.
        broadening_sigma_degree: largest standard deviation of an additional Gaussian broadening of
            every peak, as caused by small grains. Typical: 0.05 to 0.3.
        background: largest height of a smooth background relative to the strongest peak. It is a
            random mixture of a cubic and of a decay from small angles (5 to 30 degrees), as caused
            by amorphous material, fluorescence and air. Typical: 0.02 to 0.2.
        texture: smallest March-Dollase parameter r of preferred orientation. r is drawn
            log-uniformly between this value and its reciprocal, for a random low-index plane. Below
            1 grains are plates, above 1 they are needles, and 1 is a random powder. Typical: 0.5 to
            0.8.
        poisson_noise: largest relative standard deviation of counting noise on the strongest peak,
            which is one over the square root of its counts; elsewhere the noise follows from the
            intensity. Typical: 0.005 (40,000 counts) to 0.05 (400 counts).
        gaussian_noise: largest standard deviation of noise that does not depend on the intensity,
            relative to the strongest peak. Typical: 0.001 to 0.01.
        second_line: largest intensity of the K alpha 2 line relative to K alpha 1. The pattern of a
            doublet such as ``CuKa`` then becomes the sum of those of its two lines. Typical: 0.5,
            or 0 behind a monochromator.
        lorentzian: largest share of a Lorentzian in the broadening, which is a pseudo-Voigt
            profile: the Lorentzian has the same full width at half maximum as the Gaussian.
            Typical: 0.5 to 1.
        intensity_spread: largest standard deviation of the logarithm of a random factor on the
            intensity, which varies over a degree. It takes the place of texture where only a curve
            is known, and of vibrations and large grains. Typical: 0.3 to 1.
    """

    revision: ClassVar[int] = 2  # since curves are shifted by another spline

    zero_shift_degree: float = Field(default=0.1, ge=0, le=2)
    strain: float = Field(default=0.01, ge=0, le=0.1)
    broadening_sigma_degree: float = Field(default=0.2, ge=0, le=2)
    background: float = Field(default=0.1, ge=0, le=1)
    texture: float = Field(default=0.6, gt=0, le=1)
    poisson_noise: float = Field(default=0.02, ge=0, le=0.2)
    gaussian_noise: float = Field(default=0.005, ge=0, le=0.1)
    second_line: float = Field(default=0.0, ge=0, le=1)
    lorentzian: float = Field(default=0.0, ge=0, le=1)
    intensity_spread: float = Field(default=0.0, ge=0, le=3)

    def check(self, featurizer: XrdPattern) -> None:
        """Refuse a second line of a radiation whose two lines are not known.

        Raises:
            ValueError: the radiation is no doublet.
        """
        if self.second_line > 0:
            featurizer.doublet_angstrom()

    def view(
        self, record: Record, featurizer: XrdPattern, generator: np.random.Generator
    ) -> Arrays | None:
        """Return the record's pattern as an experiment might measure it; None where it has none.

        A given pattern keeps its own texture, since its reflections are not known.

        Raises:
            ValueError: for the same reasons as in ``XrdPattern``.
        """
        seen = of_origin(record, featurizer.origin, "xrd")
        given: MeasuredPattern | None = seen.parts.get("xrd")
        if given is not None:
            curve = scaled(featurizer.sampled(given), TOP_INTENSITY)
            return {"intensity": self.disturbed(curve, featurizer, generator)}
        if seen.structure is None:
            return None
        return {"intensity": self.measured(seen.structure, featurizer, generator)}

    def vary(
        self, arrays: Arrays, featurizer: XrdPattern, generators: Sequence[np.random.Generator]
    ) -> Arrays:
        """Return stored patterns as an experiment might measure them; none gets a texture.

        Where a background is taken off, that was done to what is stored, and is done again.
        """
        pairs = zip(arrays["intensity"], generators, strict=True)
        varied = [self.disturbed(curve, featurizer, generator) for curve, generator in pairs]
        return arrays | {"intensity": np.stack(varied)}

    def measured(
        self, structure: Structure, pattern: XrdPattern, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """Compute a structure's pattern as an experiment might measure it, shape (num_points,).

        Raises:
            ValueError: for the same reasons as in ``XrdPattern``.
        """
        textured = self.textured(pattern.reflections(structure), structure, generator)
        curve = scaled(pattern.smeared(textured), TOP_INTENSITY)
        return self.disturbed(curve, pattern, generator)

    def textured(
        self, reflections: Reflections, structure: Structure, generator: np.random.Generator
    ) -> Reflections:
        """Return the reflections with the intensities of a powder with a preferred orientation."""
        r = self.texture ** generator.uniform(-1, 1)
        reciprocal = np.linalg.inv(structure.lattice_angstrom).T
        axis = _random_plane(generator) @ reciprocal
        g = reflections.miller @ reciprocal
        cosines = g @ axis / (np.linalg.norm(g, axis=1) * np.linalg.norm(axis))
        weights = march_dollase(cosines, r)
        return reflections._replace(intensity=reflections.intensity * weights)

    def disturbed(
        self, intensity: Float, pattern: XrdPattern, generator: np.random.Generator
    ) -> NDArray[np.float32]:
        """Change intensities, shift and broaden a pattern, then add background and noise.

        Args:
            intensity: intensities on the pattern's grid, at most 100, shape (num_points,); the
                array is not changed.
            pattern: settings of the grid.
            generator: source of random numbers, which is advanced.

        Returns:
            The intensities from 0 to 100, shape (num_points,).
        """
        curve: Float = intensity.astype(np.float64) / TOP_INTENSITY
        curve = self._respread(curve, pattern.step_degree, generator)
        curve = self._shifted(curve, pattern, generator)
        curve = self._broadened(curve, pattern.step_degree, generator)
        grid = pattern.two_theta_degree
        curve = curve + self.background * generator.uniform() * _background(grid, generator)
        return pattern.finished(self._noisy(curve, generator)).astype(np.float32)

    def _respread(self, curve: Float, step_degree: float, generator: np.random.Generator) -> Float:
        """Multiply by the exponential of a smooth random function."""
        if self.intensity_spread == 0:
            return curve
        spread = self.intensity_spread * generator.uniform()
        points = np.arange(len(curve)) * (step_degree / _SPREAD_LENGTH_DEGREE)
        knots = generator.standard_normal(int(points[-1]) + 2)
        return _topped(curve * np.exp(spread * np.interp(points, np.arange(len(knots)), knots)))

    def _shifted(self, curve: Float, pattern: XrdPattern, generator: np.random.Generator) -> Float:
        """Move the intensity of each angle to its shifted angle; beyond the range it is 0."""
        grid = pattern.two_theta_degree
        zero = generator.uniform(-self.zero_shift_degree, self.zero_shift_degree)
        strain = generator.uniform(-self.strain, self.strain)
        sines = (1 + strain) * np.sin(np.radians(grid - zero) / 2)
        moved = np.zeros_like(curve)
        for share, ratio in self._lines(pattern, generator):
            sources = np.degrees(2 * np.arcsin((sines * ratio).clip(-1, 1)))
            moved += share * _at(sources, curve, pattern)
        return _topped(moved) if moved.max() > _LEAST_TOP else curve

    def _lines(
        self, pattern: XrdPattern, generator: np.random.Generator
    ) -> list[tuple[float, float]]:
        """Draw the lines of the radiation: shares, and ratios of the mean wavelength to theirs."""
        if self.second_line == 0:
            return [(1.0, 1.0)]
        second = self.second_line * generator.uniform()
        shares = np.array([1.0, second]) / (1 + second)
        ratios = pattern.wavelength_angstrom / np.array(pattern.doublet_angstrom())
        return list(zip(shares.tolist(), ratios.tolist(), strict=True))

    def _broadened(self, curve: Float, step_degree: float, generator: np.random.Generator) -> Float:
        from scipy.ndimage import convolve1d, gaussian_filter1d

        sigma = generator.uniform(0, self.broadening_sigma_degree) / step_degree
        share = self.lorentzian * generator.uniform() if self.lorentzian > 0 else 0.0
        if sigma == 0:
            return curve
        broad = gaussian_filter1d(curve, sigma, mode="nearest")
        if share > 0:
            tails = convolve1d(curve, _lorentzian(sigma), mode="nearest")
            broad = (1 - share) * broad + share * tails
        return _topped(broad)

    def _noisy(self, curve: Float, generator: np.random.Generator) -> Float:
        relative = self.poisson_noise * generator.uniform()
        if relative > 0:
            curve = generator.poisson(curve / relative**2) * relative**2
        sigma = self.gaussian_noise * generator.uniform()
        return curve + sigma * generator.standard_normal(len(curve))


def march_dollase(cosines: Float, r: float) -> Float:
    """Return weights of the reflections of a textured powder.

    Dollase, J. Appl. Cryst. 19, 267 (1986).

    Args:
        cosines: cosines of the angles between the normals of the reflections and of the preferred
            plane.
        r: the March-Dollase parameter, which is 1 for a random powder.

    Returns:
        (r^2 cos^2 + sin^2 / r)^(-3/2), in the shape of ``cosines``. The average over the sphere
        is 1.
    """
    squared = cosines**2
    weights: Float = (r**2 * squared + (1 - squared) / r) ** -1.5
    return weights


def _random_plane(generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw the Miller indices of one of the 13 planes with indices -1, 0 and 1."""
    planes = np.indices((3, 3, 3)).reshape(3, -1).T - 1
    plane: NDArray[np.int64] = planes[generator.integers(len(planes) // 2)]
    return plane  # the second half of the list is 0 0 0 and the opposites of these


def _background(grid: Float, generator: np.random.Generator) -> Float:
    """Draw a smooth curve with values from 0 to 1."""
    places = np.linspace(-1, 1, len(grid))
    cubic = chebyshev.chebval(places, generator.uniform(-1, 1, _BACKGROUND_DEGREE + 1))
    decay = np.exp(-(grid - grid[0]) / generator.uniform(*_BACKGROUND_DECAY_DEGREE))
    share = generator.uniform()
    mixture = share * _topped(cubic - cubic.min()) + (1 - share) * decay
    return _topped(mixture - mixture.min())


def _at(angles: Float, curve: Float, pattern: XrdPattern) -> Float:
    """Interpolate a curve by a cubic spline; beyond its ends it is 0, and it is never negative."""
    from scipy.ndimage import map_coordinates  # 0.2 s of import

    places = (angles - pattern.two_theta_min_degree) / pattern.step_degree
    inside = (places > -_ROUNDING) & (places < len(curve) - 1 + _ROUNDING)
    values = map_coordinates(curve, places[None], order=3, mode="nearest")
    return np.where(inside, values, 0.0).clip(min=0)


def _lorentzian(sigma: float) -> Float:
    """Return a Lorentzian of the half width of a Gaussian, shape (2n + 1,), with the sum 1."""
    half_width = sigma * np.sqrt(2 * np.log(2))
    reach = int(np.ceil(_LORENTZIAN_REACH * half_width))
    profile = 1 / (1 + (np.arange(-reach, reach + 1) / half_width) ** 2)
    normalised: Float = profile / profile.sum()
    return normalised


def _topped(curve: Float) -> Float:
    scaled: Float = curve / curve.max()
    return scaled
