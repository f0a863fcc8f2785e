"""The targets of a data set, which are what models predict: numbers or classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from omnimat.base.settings import Settings


class Threshold(Settings):
    """Turns a number into one of two classes.

    Attributes:
        value: the threshold; a number equal to it counts as ``above``.
        below: label of smaller numbers.
        above: label of all other numbers.
    """

    value: FiniteFloat
    below: str
    above: str

    def label(self, number: float) -> str:
        """Return the label of a number."""
        return self.below if number < self.value else self.above


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of N records for one task.

    Attributes:
        values: targets as float64 of shape (N,), or (N, k) if a target consists of k numbers, or
            as str of shape (N,) if it is a class; arbitrary where they are not known.
        is_known: whether each target is known, bool of shape (N,).
    """

    values: NDArray[Any]
    is_known: NDArray[np.bool_]

    def __getitem__(self, rows: NDArray[Any]) -> Targets:
        """Return the targets of some records."""
        return Targets(self.values[rows], self.is_known[rows])

    @property
    def known(self) -> NDArray[Any]:
        """The values that are known."""
        return self.values[self.is_known]
