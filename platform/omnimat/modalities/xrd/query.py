"""Diffraction patterns that people give: two columns, two theta and intensity."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import cast

import numpy as np

from omnimat.materials.record import Record
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.modality import Query
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.modalities.xrd.features import XrdPattern

# What begins a comment line in the programs that write two-column patterns.
_COMMENTS = ("#", "!", ";", "'", '"', "/", "@")


def read_xy(path: Path) -> MeasuredPattern:
    """Read two theta in degrees and the intensity; the wavelength is not in such a file.

    Raises:
        ValueError: there are no two columns of numbers, or two theta does not increase.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of no data, which is checked below
        table = np.loadtxt(path, comments=_COMMENTS, usecols=(0, 1), ndmin=2)
    if len(table) < 2:
        raise ValueError("a pattern has at least two points of two theta and intensity")
    angles, intensity = table.T
    if not (np.isfinite(angles).all() and (np.diff(angles) > 0).all()):
        raise ValueError("two theta must increase from point to point")
    if not np.isfinite(intensity).all():
        raise ValueError("an intensity is not finite")
    return MeasuredPattern(angles.astype(np.float32), intensity.astype(np.float32))


def notes(record: Record, featurizer: Featurizer) -> list[str]:
    """Compare what was measured with the encoder's grid."""
    measured: MeasuredPattern | None = record.parts.get("xrd")
    if measured is None:
        return []
    pattern = cast(XrdPattern, featurizer)
    grid, step = pattern.two_theta_degree, pattern.step_degree
    first, last = measured.two_theta_degree[[0, -1]]
    found = []
    if first > grid[0] + step / 2 or last < grid[-1] - step / 2:
        found.append(
            f"Measured from {first:g} to {last:g} degrees; the encoder takes {grid[0]:g} to "
            f"{grid[-1]:g}, and sees 0 where nothing was measured."
        )
    spacing = float(np.median(np.diff(measured.two_theta_degree)))
    if spacing > 2 * step:
        found.append(
            f"The points lie {spacing:.4g} degrees apart, the encoder's {step:g}: a list of "
            "peaks is no pattern."
        )
    if (measured.intensity < 0).any():
        found.append("Negative intensities are taken as 0.")
    return found


QUERY = Query("xrd", {".xy": read_xy}, notes=notes)
