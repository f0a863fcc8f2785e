"""How the values of a board are written, alike on every page and in the terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass

from omnimat.leaderboard.board import Board, Summary

_SIGNS = (("angstrom", "Å"), ("degree", "°"), ("^2", "²"), ("^3", "³"))
_METRICS = {"mae": "MAE", "rmse": "RMSE", "nmae": "nMAE", "balanced_accuracy": "balanced accuracy"}
_FRACTIONS = ("accuracy", "balanced_accuracy", "top-", "hit rate")


@dataclass(frozen=True, slots=True)
class Scale:
    """How the values of a board are written.

    A mean has as many digits as its spread over seeds supports, and no more than one beyond what a
    test of its size can tell.

    Attributes:
        metric: the name of the metric in words.
        unit: the unit as it is printed; empty if there is none.
        factor: by how much stored numbers are multiplied to be printed: 100 for a fraction.
        higher_is_better: whether a higher value is better.
    """

    metric: str
    unit: str
    factor: float
    higher_is_better: bool

    @classmethod
    def of(cls, board: Board) -> Scale:
        """Give the scale of a board; a fraction without a unit is printed in per cent."""
        is_fraction = not board.unit and board.metric.startswith(_FRACTIONS)
        return cls(
            metric=_METRICS.get(board.metric, board.metric),
            unit="%" if is_fraction else unit(board.unit),
            factor=100.0 if is_fraction else 1.0,
            higher_is_better=board.higher_is_better,
        )

    @property
    def label(self) -> str:
        """The metric and its unit: ``MAE (eV/atom)``."""
        return f"{self.metric} ({self.unit})" if self.unit else self.metric

    @property
    def arrow(self) -> str:
        """The direction that is better, as a sign."""
        return "↑" if self.higher_is_better else "↓"

    @property
    def direction(self) -> str:
        """The direction that is better, in words."""
        return f"{'higher' if self.higher_is_better else 'lower'} is better"

    def number(self, value: float, num_test: int | None = None) -> str:
        """Write one stored value without its unit, to the digits that so many materials support.

        Without a number of materials these are four digits, or two decimals of per cent.
        """
        if num_test is not None and (decimals := self._decimals_of_test(value, num_test)) >= 0:
            return f"{value * self.factor:,.{decimals}f}"
        return f"{value * self.factor:.2f}" if self.unit == "%" else _plain(value)

    def score(self, mean: float, std: float | None, num_test: int | None = None) -> str:
        """Write a mean and a deviation, rounded to the two leading digits of the deviation."""
        if not std:
            return self.number(mean, num_test)
        decimals = self._decimals(mean, std, num_test)
        return " ± ".join(f"{value * self.factor:,.{decimals}f}" for value in (mean, std))

    def of_summary(self, one: Summary) -> str:
        """Write the score of a result: its mean, and its deviation if there is one."""
        return self.score(one.mean, one.std, one.num_test)

    def rounded(self, value: float, spread: float | None) -> str:
        """Write a value to the two leading digits of a spread, if there is one."""
        if not spread or math.isinf(spread):
            return self.number(value)
        return f"{value * self.factor:.{_two_digits(spread * self.factor)}f}"

    def _decimals(self, mean: float, std: float, num_test: int | None) -> int:
        decimals = _two_digits(std * self.factor)
        if num_test is None or (of_test := self._decimals_of_test(mean, num_test)) < 0:
            return decimals
        return min(decimals, of_test + 1)

    def _decimals_of_test(self, value: float, num_test: int) -> int:
        """Give the decimals that a test of this size supports; -1 for one that has an exponent.

        A fraction cannot change by less than one material. An error is about as uncertain as the
        mean of an exponential distribution, the two leading digits of which are kept.
        """
        if self.unit == "%":
            return max(0, round(math.log10(num_test)) - 2)
        if not _TINY < abs(value) < _HUGE:
            return -1
        return _two_digits(abs(value * self.factor) / math.sqrt(num_test))


# Other numbers are written with an exponent.
_TINY, _HUGE = 1e-7, 1e7


def unit(text: str) -> str:
    """Write a unit with its signs: ``angstrom^3/atom`` becomes ``Å³/atom``."""
    for name, sign in _SIGNS:
        text = text.replace(name, sign)
    return text


def _two_digits(spread: float) -> int:
    """Give the decimals that show the two leading digits of a spread above zero."""
    return max(0, 1 - math.floor(math.log10(spread)))


def _plain(value: float) -> str:
    """Write four significant digits, without an exponent where a person would not use one."""
    text = f"{value:.4g}"
    return f"{value:,.0f}" if "e+" in text and abs(value) < 1e7 else text
