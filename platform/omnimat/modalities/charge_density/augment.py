"""Charge densities seen from another origin, since a crystal has no origin of its own."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from omnimat.materials.record import Record
from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.modalities.layout import Arrays
from omnimat.modalities.views import AugmentationSettings

_Number = TypeVar("_Number", bound=np.generic)


class ChargeDensityAugmentation(AugmentationSettings):
    """Moves the origin to a random grid point; there is nothing to set."""

    def view(
        self, record: Record, featurizer: ChargeDensityGrid, generator: np.random.Generator
    ) -> Arrays | None:
        """Return the grid with a random origin, or None where the record has no charge density.

        Raises:
            ValueError: for the same reason as in ``ChargeDensityGrid``.
        """
        arrays = featurizer(record)
        if arrays is None:
            return None
        return {"density": shifted_origin(arrays["density"], generator)}


def shifted_origin(density: NDArray[_Number], generator: np.random.Generator) -> NDArray[_Number]:
    """Move the origin of a periodic grid to a random point of it.

    Args:
        density: density on the fractional grid, shape (nx, ny, nz), which is not changed.
        generator: source of random numbers, which is advanced.

    Returns:
        A new array of the same shape with the values shifted cyclically along each axis.
    """
    shift = generator.integers(density.shape)
    return np.roll(density, tuple(shift.tolist()), axis=(0, 1, 2))
