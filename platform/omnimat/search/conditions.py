"""Conditions on materials: comparisons of their properties, and what joins these.

Their logic is that of Kleene: what compares with something unknown is neither true nor false, so
neither a condition nor its negation selects a material for what is not known of it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omnimat.base.errors import UserError

Bools = NDArray[np.bool_]
ColumnOf = Callable[[str], "pd.Series[Any]"]
"""Gives the column of a name: float64 with NaN, or texts with None, where it is not known."""

OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
}
_OF_TEXTS = ("==", "=", "!=")


@dataclass(frozen=True, slots=True)
class Truth:
    """For each of N materials, whether a condition holds, whether it does not, or neither.

    Attributes:
        holds: (N,) where it certainly holds.
        fails: (N,) where it certainly does not.
    """

    holds: Bools
    fails: Bools


class Condition(Protocol):
    """What an expression says of a material."""

    def truth(self, column_of: ColumnOf) -> Truth:
        """Evaluate it.

        Raises:
            UserError: a name is not there, or values cannot be compared.
        """


@dataclass(frozen=True, slots=True)
class Name:
    """The name of a property."""

    name: str


Operand = Name | float | str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of two operands."""

    left: Operand
    sign: str
    right: Operand

    def truth(self, column_of: ColumnOf) -> Truth:
        """Compare; unknown values compare with nothing."""
        if not isinstance(self.left, Name) and not isinstance(self.right, Name):
            raise UserError(f"where: {self} compares no property")
        operands = [_values(one, column_of) for one in (self.left, self.right)]
        (left, left_known, left_is_text), (right, right_known, right_is_text) = operands
        if left_is_text != right_is_text:
            raise UserError(
                f"where: {self} compares a number with a text; a text, and a class that is "
                "written as a number, stands in quotes"
            )
        if left_is_text and self.sign not in _OF_TEXTS:
            raise UserError(f"where: {self} orders texts; compare them by == or !=")
        known = left_known & right_known
        with np.errstate(invalid="ignore"):
            is_so = np.asarray(OPERATORS[self.sign](left, right), dtype=np.bool_)
        return Truth(known & is_so, known & ~is_so)

    def __str__(self) -> str:
        return f"{_written(self.left)} {self.sign} {_written(self.right)}"


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a condition."""

    one: Condition

    def truth(self, column_of: ColumnOf) -> Truth:
        """Turn it round; what is undecided stays so."""
        inner = self.one.truth(column_of)
        return Truth(inner.fails, inner.holds)


@dataclass(frozen=True, slots=True)
class All:
    """Several conditions at once."""

    parts: tuple[Condition, ...]

    def truth(self, column_of: ColumnOf) -> Truth:
        """Hold where every part holds, and fail where one fails."""
        truths = [one.truth(column_of) for one in self.parts]
        holds = np.logical_and.reduce([one.holds for one in truths])
        return Truth(holds, np.logical_or.reduce([one.fails for one in truths]))


def any_of(parts: Sequence[Condition]) -> Condition:
    """Hold where at least one of some conditions does."""
    return parts[0] if len(parts) == 1 else Not(All(tuple(Not(one) for one in parts)))


def all_of(parts: Sequence[Condition]) -> Condition:
    """Hold where all of some conditions do."""
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _written(operand: Operand) -> str:
    if isinstance(operand, Name):
        return operand.name
    return repr(operand) if isinstance(operand, str) else f"{operand:g}"


def _values(operand: Operand, column_of: ColumnOf) -> tuple[Any, Any, bool]:
    """Give the values of an operand, where they are known, and whether they are texts."""
    if isinstance(operand, str):
        return operand, np.True_, True
    if isinstance(operand, float):
        return operand, np.True_, False
    column = column_of(operand.name)
    return column.to_numpy(), column.notna().to_numpy(), column.dtype.kind == "O"
