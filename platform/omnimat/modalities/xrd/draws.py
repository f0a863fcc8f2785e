"""The random numbers that decide how patterns vary, of each pattern from its own generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.floating[Any]]

_SEVERAL = {"line_height": 4, "line_place": 4, "coefficients": 4}


class Uniform(NamedTuple):
    """Independent numbers from 0 to 1, shape (n, 1), or (n, 4) for several of a kind."""

    zero_shift: Float
    strain: Float
    second_line: Float
    spread: Float
    impurity: Float
    line_height: Float
    line_place: Float
    thermal_b: Float
    scale: Float
    broadening: Float
    lorentzian: Float
    background: Float
    coefficients: Float
    decay: Float
    cubic_share: Float
    poisson_noise: Float
    gaussian_noise: Float


_NUM_UNIFORM = [_SEVERAL.get(name, 1) for name in Uniform._fields]


def numbers_of(
    generators: Sequence[np.random.Generator], num_normal: int
) -> tuple[Uniform, NDArray[np.float32]]:
    """Draw uniform numbers, and normal ones of shape (n, num_normal), from n generators."""
    uniform = np.stack([one.random(sum(_NUM_UNIFORM)) for one in generators])
    normal = np.stack([one.standard_normal(num_normal, np.float32) for one in generators])
    return Uniform(*np.split(uniform, np.cumsum(_NUM_UNIFORM)[:-1], axis=1)), normal
