"""Brings charge densities to another grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Float = TypeVar("Float", bound=np.floating[Any])


def resampled(
    grid: NDArray[Float], num_points: int, axes: Sequence[int] = (0, 1, 2)
) -> NDArray[Float]:
    """Resample a periodic grid by cutting or padding its Fourier series along some axes.

    This is exact for a density without higher terms, and keeps the mean.

    Args:
        grid: density on even points of fractional coordinates, any number of axes.
        num_points: how many points each of these axes is to have.
        axes: the axes to resample.

    Returns:
        The grid, with ``num_points`` points along these axes.
    """
    for axis in axes:
        if grid.shape[axis] != num_points:
            grid = _resampled_along(grid, num_points, axis)
    return grid


def _resampled_along(grid: NDArray[Float], num_points: int, axis: int) -> NDArray[Float]:
    """Do what ``scipy.signal.resample`` does, in its order, without half a second of imports."""
    from scipy.fft import irfft, rfft

    num_before = grid.shape[axis]
    num_fewer = min(num_points, num_before)
    series = rfft(np.moveaxis(grid, axis, -1))[..., : num_fewer // 2 + 1]
    if num_fewer % 2 == 0:  # its last term stands alone on the smaller grid, in a pair on the other
        series[..., -1] *= 2 if num_points < num_before else 0.5
    after: NDArray[Float] = irfft(series / (num_before / num_points), n=num_points)
    return np.moveaxis(after, -1, axis)
