"""Powder X-ray diffraction patterns, as they were measured or computed from the structure.

The computed reflections are those of pymatgen's ``XRDCalculator`` (De Graef and McHenry, Structure
of Materials, ch. 11 and 12), but they are found without its loop over Miller indices. Since all of
them are smeared into a curve, equal reflections need not be merged or named.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from omnimat.materials.record import Record, Structure
from omnimat.modalities.layout import Arrays, FeaturizerSettings, Field
from omnimat.modalities.origin import Origin, columns_of, of_origin
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.modalities.xrd.curves import averaged, lower_envelope, scaled
from omnimat.modalities.xrd.scattering import (
    WAVELENGTHS_ANGSTROM,
    blocks,
    extent,
    half_sphere,
    structure_factors,
)

Float = NDArray[np.floating[Any]]

_SMEARING_REACH = 6.0  # in sigma; a Gaussian has fallen to 1.5e-8 there
TOP_INTENSITY = 100.0
DEFAULT_RADIATION = "CuKa"
# So many take 1 GB in all; a crystal of 900 atoms has 2e5.
_MAX_REFLECTIONS = 10**7
# The Lorentz factor has a pole at two theta = 180 degrees, which no detector sees. It is cut off
# 0.1 degrees before.
_LEAST_COSINE = 1e-3


class Reflections(NamedTuple):
    """Half of a crystal's reflections, one of each pair g and -g.

    Attributes:
        two_theta_degree: scattering angle of each reflection, shape (m,).
        intensity: unscaled intensity of each reflection, shape (m,).
        miller: Miller indices of each reflection, shape (m, 3).
    """

    two_theta_degree: Float
    intensity: Float
    miller: Float


class XrdPattern(FeaturizerSettings):
    """Smeared powder pattern on an even grid of scattering angles.

    The default grid is 0.0, 0.1, ... 89.9 degrees (900 points, without the upper end). The curve is
    scaled to a maximum of 100. Compressing it, so that strong reflections do not hide the many weak
    ones, is left to the encoder.

    Attributes:
        origin: which patterns count: those ``given`` with the record, such as measured ones, those
            ``derived`` from its structure, or ``any``, which prefers the given one.
        radiation: name of a line that pymatgen knows, or a wavelength in angstrom.
        two_theta_min_degree: first point of the grid; reflections below it are left out.
        two_theta_max_degree: end of the grid; reflections above it are left out.
        step_degree: spacing of the grid.
        smearing_sigma_degree: standard deviation of the Gaussian that replaces each reflection.
        max_terms: largest number of reflections times atoms; a crystal that needs more gets no
            pattern. A term takes some 30 ns, so the default is about a minute.
        given_points: how a given pattern comes onto the grid. ``interpolated`` takes its value at
            each angle; ``averaged`` takes the mean over a step around it, which keeps all counts of
            a pattern that was measured in smaller steps.
        background_window_degree: width of the window of the lower envelope that is taken off as
            background, from given and derived patterns alike; 0 takes off nothing. It has to be
            several times as wide as a peak.
    """

    modality: ClassVar[str] = "xrd"

    type: Literal["xrd_pattern"] = "xrd_pattern"
    origin: Origin = "any"
    radiation: str | PositiveFloat = DEFAULT_RADIATION
    two_theta_min_degree: float = 0.0
    two_theta_max_degree: float = 90.0
    step_degree: PositiveFloat = 0.1
    smearing_sigma_degree: PositiveFloat = 0.3
    max_terms: PositiveInt = 2 * 10**9
    given_points: Literal["interpolated", "averaged"] = "interpolated"
    background_window_degree: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.radiation, str) and self.radiation not in WAVELENGTHS_ANGSTROM:
            known = ", ".join(WAVELENGTHS_ANGSTROM)
            raise ValueError(f"radiation must be one of {known}, or in angstrom")
        if not 0 <= self.two_theta_min_degree < self.two_theta_max_degree <= 180:
            raise ValueError("two_theta_min_degree and two_theta_max_degree must rise in [0, 180]")
        return self

    @property
    def num_points(self) -> int:
        """Number of points of the grid."""
        span = self.two_theta_max_degree - self.two_theta_min_degree
        return round(span / self.step_degree)

    @property
    def wavelength_angstrom(self) -> float:
        """Wavelength of the radiation."""
        if isinstance(self.radiation, str):
            return WAVELENGTHS_ANGSTROM[self.radiation]
        return self.radiation

    def doublet_angstrom(self) -> tuple[float, float]:
        """Return the wavelengths of the two lines of the radiation, the stronger one first.

        Raises:
            ValueError: it is no doublet of ``WAVELENGTHS_ANGSTROM``.
        """
        known = WAVELENGTHS_ANGSTROM
        lines = [f"{self.radiation}{place}" for place in (1, 2)]
        if not set(lines) <= known.keys():
            doublets = [name for name in known if {f"{name}1", f"{name}2"} <= known.keys()]
            raise ValueError(
                f"radiation {self.radiation} has no second line; choose one of "
                f"{', '.join(doublets)}, or set second_line to 0"
            )
        first, second = (known[name] for name in lines)
        return first, second

    @property
    def fields(self) -> tuple[Field, ...]:
        """Field of the curve."""
        return (Field("intensity", "float32", (self.num_points,)),)

    @property
    def index_columns(self) -> tuple[str, ...]:
        """Columns of the record index that show where there is a pattern."""
        return columns_of(self.origin, "xrd")

    def __call__(self, record: Record) -> Arrays | None:
        """Return the pattern, or None where the record has none of this origin.

        Raises:
            ValueError: the scattering factor of an element is unknown, or there is no intensity in
                the range of the grid.
        """
        seen = of_origin(record, self.origin, "xrd")
        pattern: MeasuredPattern | None = seen.parts.get("xrd")
        if pattern is not None:
            return {"intensity": self.on_grid(pattern).astype(np.float32)}
        if seen.structure is None:
            return None
        return {"intensity": self.curve(self.reflections(seen.structure)).astype(np.float32)}

    def on_grid(self, pattern: MeasuredPattern) -> Float:
        """Interpolate a measured pattern to the grid, for the featurizer's own radiation.

        Angles of another wavelength are converted by Bragg's law. The curve is zero where nothing
        was measured and where the intensity is negative. A background is taken off if so set.

        Returns:
            The curve, scaled to a maximum of 100, shape (num_points,).

        Raises:
            ValueError: there is no intensity in the range of the grid.
        """
        return self.finished(self.sampled(pattern))

    def sampled(self, pattern: MeasuredPattern) -> Float:
        """Do the same, but leave background, negative intensities and scale as they are."""
        angles = self._converted(pattern)
        if self.given_points == "averaged":
            return averaged(self.two_theta_degree, self.step_degree, angles, pattern.intensity)
        curve: Float = np.interp(
            self.two_theta_degree, angles, pattern.intensity, left=0.0, right=0.0
        )
        return curve

    def finished(self, curves: Float) -> Float:
        """Take the background off curves on the grid, and scale each to a maximum of 100.

        Negative intensities become zero.

        Args:
            curves: one curve or several, shape (..., num_points).

        Raises:
            ValueError: no intensity is left.
        """
        curves = np.maximum(curves, 0.0)
        if self.background_window_degree > 0:
            curves = curves - lower_envelope(curves, self._background_points)
        return scaled(curves, TOP_INTENSITY)

    @property
    def _background_points(self) -> int:
        return max(1, round(self.background_window_degree / self.step_degree))

    def _converted(self, pattern: MeasuredPattern) -> Float:
        """Return the angles at which the featurizer's radiation shows the same lattice spacings.

        Spacings for which its wavelength is too long get angles beyond 180 degrees.
        """
        if pattern.wavelength_angstrom in {None, self.wavelength_angstrom}:
            return pattern.two_theta_degree
        ratio = self.wavelength_angstrom / pattern.wavelength_angstrom
        sines = ratio * np.sin(np.radians(pattern.two_theta_degree.astype(np.float64)) / 2)
        beyond = 180 + np.arange(len(sines), dtype=np.float64)
        angles: Float = np.where(sines <= 1, np.degrees(2 * np.arcsin(sines.clip(max=1))), beyond)
        return angles

    def curve(self, reflections: Reflections) -> Float:
        """Smear reflections and scale the curve to a maximum of 100, shape (num_points,)."""
        return self.finished(self.smeared(reflections))

    @property
    def two_theta_degree(self) -> Float:
        """Angles of the grid, shape (num_points,)."""
        return self.two_theta_min_degree + self.step_degree * np.arange(self.num_points)

    def reflections(self, structure: Structure) -> Reflections:
        """Find the reflections of a structure in the range of the grid.

        Beyond the result, this takes about 25 MB, however large the crystal is.

        Raises:
            ValueError: the scattering factor of an element is unknown, no reflection lies in the
                range of the grid, or there are too many for ``max_terms``.
        """
        limits = np.radians([self.two_theta_min_degree, self.two_theta_max_degree]) / 2
        g_min, g_max = 2 * np.sin(limits) / self.wavelength_angstrom
        self._check_size(structure, float(g_max))
        miller, g = half_sphere(structure.lattice_angstrom, float(g_max))
        in_range = g >= max(float(g_min), 1e-9)
        if not in_range.any():
            raise ValueError("no reflection in the range of two theta")
        miller, g = miller[in_range], g[in_range]
        theta = np.arcsin(np.minimum(self.wavelength_angstrom * g / 2, 1.0))
        cosines = np.maximum(np.cos(theta), _LEAST_COSINE)
        lorentz_polarization = (1 + np.cos(2 * theta) ** 2) / (np.sin(theta) ** 2 * cosines)
        intensity = np.abs(structure_factors(structure, miller, g)) ** 2 * lorentz_polarization
        return Reflections(np.degrees(2 * theta), intensity, miller)

    def _check_size(self, structure: Structure, g_max: float) -> None:
        """Refuse a crystal that would take too long, by the volume of the sphere or its box."""
        num_atoms = structure.atomic_numbers.size
        volume = abs(float(np.linalg.det(structure.lattice_angstrom)))
        reflections = 2 / 3 * np.pi * volume * g_max**3
        candidates = np.prod(2.0 * extent(structure.lattice_angstrom, g_max) + 1) / 2
        if reflections > _MAX_REFLECTIONS or max(reflections * num_atoms, candidates) > (
            self.max_terms
        ):
            raise ValueError(
                f"too large for a pattern: about {reflections:.1e} reflections of {num_atoms} atoms"
            )

    def smeared(self, reflections: Reflections) -> Float:
        """Sum one Gaussian per reflection, only where it is not negligible, (num_points,)."""
        two_theta, intensity = reflections.two_theta_degree, reflections.intensity
        sigma = self.smearing_sigma_degree / self.step_degree
        reach = int(np.ceil(_SMEARING_REACH * sigma))
        offsets = np.arange(-reach, reach + 1)
        padded = np.zeros(self.num_points + 2 * reach + 1)  # one at the end of the grid counts
        for block in blocks(len(two_theta), len(offsets)):
            place = (two_theta[block] - self.two_theta_min_degree) / self.step_degree
            points = np.rint(place).astype(np.int64)[:, None] + offsets
            gaussians = np.exp(-0.5 * ((points - place[:, None]) / sigma) ** 2)
            # This adds one number after another, whatever the blocks.
            np.add.at(
                padded, (points + reach).ravel(), (intensity[block, None] * gaussians).ravel()
            )
        return padded[reach : reach + self.num_points]
