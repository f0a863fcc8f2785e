"""What a data set knows of its materials, as it is predicted: numbers, or classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from omnimat.base.settings import Settings


class Threshold(Settings):
    """Makes two classes of a number.

    Attributes:
        value: the threshold; a number equal to it counts as ``above``.
        below: the label of smaller numbers.
        above: the label of the others.
    """

    value: FiniteFloat
    below: str
    above: str

    def label(self, number: float) -> str:
        """Give the class of a number."""
        return self.below if number < self.value else self.above


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of N records for one task.

    Attributes:
        values: (N,) float64, (N, k) where a target is k numbers, or (N,) str where it is a class;
            arbitrary where it is not known.
        is_known: (N,) bool.
    """

    values: NDArray[Any]
    is_known: NDArray[np.bool_]

    def __getitem__(self, rows: NDArray[Any]) -> Targets:
        """Give the targets of some records."""
        return Targets(self.values[rows], self.is_known[rows])

    @property
    def known(self) -> NDArray[Any]:
        """The values that are known."""
        return self.values[self.is_known]
