"""Two classes by a number."""

from __future__ import annotations

from pydantic import FiniteFloat

from omnimat.base.settings import Settings


class Threshold(Settings):
    """Makes two labels of a number.

    Attributes:
        value: the border, which belongs to ``above``.
        below: label of smaller numbers.
        above: label of the others.
    """

    value: FiniteFloat
    below: str
    above: str

    def label(self, number: float) -> str:
        """Label one number."""
        return self.below if number < self.value else self.above
