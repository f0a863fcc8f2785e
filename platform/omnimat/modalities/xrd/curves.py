"""What is done to measured and computed curves alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating[Any]]


def averaged(grid: Float, step: float, places: Float, values: Float) -> Float:
    """Average a curve over a step around each point of an even grid.

    Args:
        grid: the points of the grid, shape (n,).
        step: their distance.
        places: where the curve is known, increasing, shape (m,).
        values: its values there, shape (m,); beyond the ends it is 0.

    Returns:
        The averages, shape (n,).
    """
    places, values = places.astype(np.float64), values.astype(np.float64)
    areas = np.diff(places) * (values[1:] + values[:-1]) / 2
    integral = np.concatenate([[0.0], np.cumsum(areas)])
    edges = np.concatenate([grid - step / 2, [grid[-1] + step / 2]])
    average: Float = np.diff(np.interp(edges, places, integral)) / step
    return average


def scaled(curves: Float, top: float) -> Float:
    """Scale curves to a maximum; negative values become zero.

    Args:
        curves: one curve or several, shape (..., n).
        top: the maximum of each.

    Raises:
        ValueError: a curve has no value above zero.
    """
    positive = np.maximum(curves, 0.0)
    highest = positive.max(axis=-1, keepdims=True)
    if not (highest > 0).all():
        raise ValueError("no intensity in the range of two theta")
    found: Float = positive * (top / highest)
    return found


def lower_envelope(curves: Float, num_points: int) -> Float:
    """Return a smooth curve below each of others, which follows hills wider than the window.

    It is a morphological opening, averaged over the window where that stays below.

    Args:
        curves: the other curves, shape (..., n).
        num_points: the width of the window.
    """
    from scipy.ndimage import grey_opening, uniform_filter1d  # 0.2 s of import

    window = (1,) * (curves.ndim - 1) + (num_points,)
    opened = grey_opening(curves, window, mode="nearest")
    return np.minimum(uniform_filter1d(opened, num_points, mode="nearest"), curves)
