"""The mean of several networks that predict the same: those of a packed model, or of a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omnimat.finetune.codec import ClassIndex, JointCodec


@dataclass(frozen=True, slots=True)
class Mean:
    """The prediction of one quantity for N materials.

    Attributes:
        values: (N,) or (N, k) numbers, or (N,) labels.
        spreads: standard deviation over the members, of the same shape; of a class, one less its
            probability.
    """

    values: NDArray[Any]
    spreads: NDArray[np.float64]

    @property
    def is_finite(self) -> NDArray[np.bool_]:
        """(N,) whether a prediction is finite: a power of ten may be too large, or weights NaN."""
        inner = tuple(range(1, self.spreads.ndim))
        return np.asarray(np.isfinite(self.spreads).all(axis=inner))


def averaged(codec: JointCodec, values: NDArray[np.float32]) -> list[Mean]:
    """Average the members' predictions of each quantity.

    Numbers are averaged in the unit of the target, and classes by their probability.

    Args:
        codec: maps outputs to quantities.
        values: (members, N, outputs).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        decoded = [codec.decode(member) for member in values]
    ends = np.cumsum([one.num_outputs for one in codec.codecs])[:-1]
    found = []
    for place, (one, part) in enumerate(zip(codec.codecs, np.split(values, ends, 2), strict=True)):
        if isinstance(one, ClassIndex):
            joint = one.joint(part)
            with np.errstate(invalid="ignore"):
                found.append(Mean(one.decode(joint), 1 - one.probability(joint)))
        else:
            numbers = np.stack([member[place] for member in decoded])
            with np.errstate(over="ignore", invalid="ignore"):
                found.append(Mean(numbers.mean(axis=0), numbers.std(axis=0)))
    return found
