"""A charge density seen from another origin: a crystal has none of its own."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Number = TypeVar("_Number", bound=np.generic)


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
