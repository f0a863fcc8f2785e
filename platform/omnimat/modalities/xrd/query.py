"""How a user asks by a diffraction pattern."""

from __future__ import annotations

from typing import cast

import numpy as np

from omnimat.materials.record import Record
from omnimat.modalities.layout import Featurizer
from omnimat.modalities.modality import Query
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.modalities.xrd.features import XrdPattern


def notes(record: Record, featurizer: Featurizer) -> list[str]:
    """Return sentences on how the measured pattern differs from the encoder's grid."""
    measured: MeasuredPattern | None = record.parts.get("xrd")
    if measured is None:
        return []
    pattern = cast(XrdPattern, featurizer)
    grid, step = pattern.two_theta_degree, pattern.step_degree
    first, last = measured.two_theta_degree[[0, -1]]
    found = []
    if first > grid[0] + step / 2 or last < grid[-1] - step / 2:
        found.append(
            f"The pattern was measured from {first:g} to {last:g} degrees; the encoder reads "
            f"{grid[0]:g} to {grid[-1]:g} degrees, and sees 0 where nothing was measured."
        )
    spacing = float(np.median(np.diff(measured.two_theta_degree)))
    if spacing > 2 * step:
        found.append(
            f"The points lie {spacing:.4g} degrees apart, those of the encoder {step:g}: a list of "
            "peaks is not a pattern."
        )
    if (measured.intensity < 0).any():
        found.append("Negative intensities are taken as 0.")
    return found


QUERY = Query("xrd", notes=notes)
