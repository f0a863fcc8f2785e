"""Reads the unit cell of a CIF."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from omnimat.formats.cif.document import Block

_KEYS = tuple(f"_cell_length_{axis}" for axis in "abc") + tuple(
    f"_cell_angle_{name}" for name in ("alpha", "beta", "gamma")
)
_MAX_LENGTH_ANGSTROM = 10_000.0
# Below this share of a brick's volume, the three angles hardly leave room for a cell.
_MIN_SQUARED_VOLUME_SHARE = 1e-6


def cell_parameters(block: Block) -> tuple[float, ...]:
    """Return a, b, c in angstrom and alpha, beta, gamma in degrees.

    Raises:
        ValueError: one is unknown or impossible; the message names its key.
    """
    values = tuple(_parameter(block, key) for key in _KEYS)
    cosines = [math.cos(math.radians(angle)) for angle in values[3:]]
    share = 1 + 2 * math.prod(cosines) - sum(cosine**2 for cosine in cosines)
    if share < _MIN_SQUARED_VOLUME_SHARE:
        angles = ", ".join(f"{angle:g}" for angle in values[3:])
        raise ValueError(
            f"impossible cell: no cell has the angles {angles} degrees "
            "(_cell_angle_alpha, _cell_angle_beta, _cell_angle_gamma)"
        )
    return values


def _parameter(block: Block, key: str) -> float:
    text = block.value(key)
    if text is None:
        raise ValueError(f"unknown cell: {key} is not given")
    value = block.number(key)
    largest = 180.0 if "angle" in key else _MAX_LENGTH_ANGSTROM
    if value is None or not 0 < value < largest:
        raise ValueError(f"impossible cell: {key} is {text[:40]!r}")
    return value


def metric(parameters: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the products of the cell's vectors in angstrom^2, shape (3, 3)."""
    lengths = np.array(parameters[:3])
    alpha, beta, gamma = np.cos(np.radians(parameters[3:]))
    cosines = np.array([[1, gamma, beta], [gamma, 1, alpha], [beta, alpha, 1]])
    return np.asarray(cosines * np.outer(lengths, lengths), dtype=np.float64)
