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
from numpy.typing import NDArray
from pydantic import Field

from omnimat.materials.record import Record, Structure
from omnimat.modalities.layout import Arrays
from omnimat.modalities.origin import of_origin
from omnimat.modalities.views import ArrayAugmentationSettings
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.modalities.xrd.curves import scaled
from omnimat.modalities.xrd.disturb import Disturbances, disturbed
from omnimat.modalities.xrd.draws import numbers_of
from omnimat.modalities.xrd.features import TOP_INTENSITY, Reflections, XrdPattern

Float = NDArray[np.floating[Any]]

_BACKGROUND_DECAY_DEGREE = (5.0, 30.0)


class XrdAugmentation(ArrayAugmentationSettings):
    """How strongly a pattern is changed.

    Each strength is the upper end of a range from which the actual strength is drawn. With all
    strengths at 0 and ``texture`` at 1, a pattern stays as it is. Between the points of the grid a
    pattern is taken to be straight, so the grid should have two points or more in the standard
    deviation of a peak; with one, a shift makes the peaks wider by a twelfth on the average.

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
            intensity. It is normal. Typical: 0.005 (40,000 counts) to 0.05 (400 counts).
        gaussian_noise: largest standard deviation of noise that does not depend on the intensity,
            relative to the strongest peak. Typical: 0.001 to 0.01.
        second_line: largest intensity of the K alpha 2 line relative to K alpha 1. The pattern of a
            doublet such as ``CuKa`` then becomes the sum of those of its two lines. Typical: 0.5,
            or 0 behind a monochromator.
        lorentzian: largest share of a Lorentzian in the broadening, which is a pseudo-Voigt
            profile: the Lorentzian has the same full width at half maximum as the Gaussian.
            Typical: 0.5 to 1.
        intensity_spread: largest standard deviation of the logarithm of a random factor on the
            intensity. It takes the place of texture where only a curve is known, and of vibrations
            and large grains. Typical: 0.3 to 1.5.
        intensity_spread_degree: over what angle that factor changes. With 1 neighbouring peaks keep
            their ratio; with about twice the width of a peak every peak has a factor of its own.
            Typical: 0.2 to 1.
        impurity: largest height of the four lines of an impurity, at random angles, relative to the
            strongest peak. Typical: 0.05 to 0.2.
        thermal_b_angstrom2: largest B of the Debye-Waller factor exp(-2 B (sin(theta) / lambda)^2),
            by which vibrations weaken what lies at large angles. Computed patterns have none.
            Typical: 1 to 3.
        scale: by what part of their length all lattice vectors are stretched at most. This makes
            the pattern of another crystal of the same symmetry, with closer lines; where the
            stretched lines of the range end, there is nothing. It keeps a network from taking many
            lines for a low symmetry, where large cells are rare in training. Typical: 0, or 0.2 to
            0.4 for the symmetry.
        rarity: how rare strong disturbances are. The strengths of broadening, background, noise,
            intensity spread and impurity are their upper ends times a uniform number from 0 to 1 to
            the power of this. With 1 all are equally likely; with 2 to 3 most patterns are clean
            and a few are bad, as in a collection of measurements. Typical: 1 to 3.
    """

    revision: ClassVar[int] = 3  # since patterns are shifted by lines and counting noise is normal

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
    intensity_spread_degree: float = Field(default=1.0, ge=0.05, le=30)
    impurity: float = Field(default=0.0, ge=0, le=1)
    thermal_b_angstrom2: float = Field(default=0.0, ge=0, le=20)
    scale: float = Field(default=0.0, ge=0, le=1)
    rarity: float = Field(default=1.0, ge=1, le=5)

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
        curves = arrays["intensity"].astype(np.float32, copy=False)
        drawn = self.drawn(featurizer, generators)
        return arrays | {"intensity": disturbed(curves, featurizer, drawn)}

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
        drawn = self.drawn(pattern, [generator])
        varied: NDArray[np.float32] = disturbed(intensity[None], pattern, drawn)[0]
        return varied

    def drawn(self, pattern: XrdPattern, generators: Sequence[np.random.Generator]) -> Disturbances:
        """Draw what is done to a pattern from each of n generators, which are advanced."""
        span = pattern.num_points * pattern.step_degree
        num_knots = int(span / self.intensity_spread_degree) + 2
        one, normal = numbers_of(generators, num_knots + pattern.num_points)
        first, last = _BACKGROUND_DECAY_DEGREE
        return Disturbances(
            zero_shift_degree=self.zero_shift_degree * (2 * one.zero_shift - 1),
            strain=(1 + self.strain * (2 * one.strain - 1)) * (1 + self.scale * one.scale) - 1,
            second_line=self.second_line * one.second_line,
            log_factors=self._rare(self.intensity_spread, one.spread) * normal[:, :num_knots],
            thermal_b_angstrom2=self.thermal_b_angstrom2 * one.thermal_b,
            knot_degree=self.intensity_spread_degree,
            line_height=self._rare(self.impurity, one.impurity) * one.line_height,
            line_degree=pattern.two_theta_min_degree + span * one.line_place,
            broadening_sigma_degree=self._rare(self.broadening_sigma_degree, one.broadening),
            lorentzian=self.lorentzian * one.lorentzian,
            background=self._rare(self.background, one.background),
            coefficients=2 * one.coefficients - 1,
            decay_degree=first + (last - first) * one.decay,
            cubic_share=one.cubic_share,
            poisson_noise=self._rare(self.poisson_noise, one.poisson_noise),
            gaussian_noise=self._rare(self.gaussian_noise, one.gaussian_noise),
            normal=normal[:, num_knots:],
        )

    def _rare(self, largest: float, uniform: Float) -> Float:
        strength: Float = largest * uniform**self.rarity
        return strength


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
