"""Powder X-ray diffraction patterns, which are measured or follow from the structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnimat.modalities.modality import Modality
from omnimat.modalities.storage import Stored, checked, checked_curve, decode_npz, encode_npz

_HERE = "omnimat.modalities.xrd"


@dataclass(frozen=True, slots=True)
class MeasuredPattern:
    """A diffraction pattern as it was given, on any grid.

    Attributes:
        two_theta_degree: scattering angles, increasing, float32 of shape (n,).
        intensity: intensities on any scale, float32 of shape (n,).
        wavelength_angstrom: wavelength of the radiation; None where it is not known and that of the
            featurizer is assumed.
    """

    two_theta_degree: NDArray[np.float32]
    intensity: NDArray[np.float32]
    wavelength_angstrom: float | None = None


def encode(pattern: MeasuredPattern) -> bytes:
    """Write a pattern as arrays.

    Raises:
        ValueError: the lengths differ, the angles do not increase from 0 to 180 degrees at most, a
            number is not finite, no intensity is above zero, or the wavelength is not positive.
    """
    _check(pattern)
    arrays: dict[str, NDArray[Any]] = {
        "two_theta_degree": pattern.two_theta_degree,
        "intensity": pattern.intensity,
    }
    if pattern.wavelength_angstrom is not None:
        arrays["wavelength_angstrom"] = np.array([pattern.wavelength_angstrom])
    return encode_npz(arrays)


def decode(data: bytes) -> MeasuredPattern:
    """Read and check what ``encode`` writes."""
    arrays = decode_npz(data)
    wavelength = arrays.pop("wavelength_angstrom", None)
    value = None if wavelength is None else float(checked(wavelength, 1)[0])
    pattern = MeasuredPattern(**arrays, wavelength_angstrom=value)
    _check(pattern)
    return pattern


def _check(pattern: MeasuredPattern) -> None:
    curve = {"two_theta_degree": pattern.two_theta_degree, "intensity": pattern.intensity}
    checked_curve(curve, "two_theta_degree", "scattering angles and intensities")
    if pattern.two_theta_degree[0] < 0 or pattern.two_theta_degree[-1] > 180:
        raise ValueError("scattering angles (two theta) lie outside 0 to 180 degrees")
    if not pattern.intensity.max() > 0:
        raise ValueError("no intensity is above zero")
    if pattern.wavelength_angstrom is not None and not pattern.wavelength_angstrom > 0:
        raise ValueError("the wavelength is not positive")


MODALITY = Modality(
    name="xrd",
    label="a diffraction pattern",
    stored=(Stored("xrd.npz", encode, decode),),
    featurizers={"xrd_pattern": f"{_HERE}.features:XrdPattern"},
    encoders={
        "xrd_cnn": f"{_HERE}.cnn:XrdCnnSettings",
        "xrd_lattice_cnn": f"{_HERE}.lattice_cnn:XrdLatticeCnnSettings",
    },
    augmentation=f"{_HERE}.augment:XrdAugmentation",
    query=f"{_HERE}.query:QUERY",
)
