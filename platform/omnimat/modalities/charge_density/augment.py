"""A charge density seen from another origin: a crystal has none of its own."""

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
    """A random origin; there is nothing to choose."""

    def view(
        self, record: Record, featurizer: ChargeDensityGrid, generator: np.random.Generator
    ) -> Arrays | None:
        """Give the grid from a random point of it, or None where the record has none.

        Raises:
            ValueError: as ``ChargeDensityGrid`` does.
        """
        arrays = featurizer(record)
        if arrays is None:
            return None
        return {"density": shifted_origin(arrays["density"], generator)}


def shifted_origin(density: NDArray[_Number], generator: np.random.Generator) -> NDArray[_Number]:
    """Move the origin of a periodic grid to a random point of it.

    Args:
        density: (nx, ny, nz) on the fractional grid; left alone.
        generator: advanced.

    Returns:
        The same values in a new array of the same shape, turned round each axis.
    """
    shift = generator.integers(density.shape)
    return np.roll(density, tuple(shift.tolist()), axis=(0, 1, 2))
