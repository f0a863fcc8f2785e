"""The small language of ``where``: comparisons of properties, joined by and, or, not.

    bulk_modulus_gpa > 200 and (crystal_system == "cubic" or 0.5 <= band_gap_ev < 2)

    condition   = all_of { "or" all_of }
    all_of      = negatable { "and" negatable }
    negatable   = "not" negatable | "(" condition ")" | comparison
    comparison  = operand { operator operand }- | operand [ "not" ] "in" list
    list        = "(" operand { "," operand } ")"
    operand     = name | `name` | number | "text" | 'text'

An expression is parsed into the classes below and nothing else: it cannot call, import or reach
anything. Its logic is that of Kleene: what compares with something unknown is neither true nor
false, so neither a condition nor its negation selects a material for what is not known of it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from omnimat.base.errors import UserError
from omnimat.base.words import shortened

Bools = NDArray[np.bool_]
ColumnOf = Callable[[str], "pd.Series[Any]"]
"""Gives the column of a name: float64 with NaN, or texts with None, where it is not known."""

MAX_CHARACTERS = 10_000
_MAX_DEPTH = 50
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
}
_OF_TEXTS = ("==", "=", "!=")
_WORDS = ("and", "or", "not", "in")
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<name>[^\W\d][\w.]*) | `(?P<quoted>[^`]+)`
    | "(?P<double>[^"]*)" | '(?P<single>[^']*)'
    | (?P<sign><=|>=|==|!=|[<>=(),])
    )""",
    re.VERBOSE,
)
_KINDS = {"quoted": "name", "double": "text", "single": "text"}


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
            is_so = np.asarray(_OPERATORS[self.sign](left, right), dtype=np.bool_)
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


def parse(text: str) -> Condition:
    """Read an expression.

    Raises:
        UserError: it is none; the message says where reading ended.
    """
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"where: an expression has at most {MAX_CHARACTERS} characters")
    return _Parser(text).whole()


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


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    place: int


class _Parser:
    """Reads tokens from left to right; a method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0

    def whole(self) -> Condition:
        found = self._condition()
        if self._next < len(self._tokens):
            raise self._mistake("'and' or 'or'")
        return found

    def _condition(self) -> Condition:
        return any_of(self._joined(self._all_of, "or"))

    def _all_of(self) -> Condition:
        return all_of(self._joined(self._negatable, "and"))

    def _joined(self, part: Callable[[], Condition], word: str) -> list[Condition]:
        parts = [part()]
        while self._took(word):
            parts.append(part())
        return parts

    def _negatable(self) -> Condition:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise UserError(f"where: more than {_MAX_DEPTH} conditions stand in one another")
        found: Condition
        if self._took("not"):
            found = Not(self._negatable())
        elif self._took("("):
            found = self._condition()
            self._need(")")
        else:
            found = self._comparison()
        self._depth -= 1
        return found

    def _comparison(self) -> Condition:
        left = self._operand()
        is_not = self._took("not")
        if is_not or self._looks_at("in"):
            self._need("in")
            among = any_of([Comparison(left, "==", one) for one in self._list()])
            return Not(among) if is_not else among
        parts: list[Condition] = []
        while (sign := self._sign()) is not None:
            right = self._operand()
            parts.append(Comparison(left, sign, right))
            left = right
        if not parts:
            raise self._mistake("a comparison, such as > 200,")
        return all_of(parts)

    def _list(self) -> list[Operand]:
        self._need("(")
        found = [self._operand()]
        while self._took(","):
            found.append(self._operand())
        self._need(")")
        return found

    def _operand(self) -> Operand:
        token = self._token()
        if token is None or token.kind in {"sign", "word"}:
            raise self._mistake("a name, a number or a text in quotes")
        self._next += 1
        if token.kind == "number":
            return float(token.text)
        return Name(token.text) if token.kind == "name" else token.text

    def _sign(self) -> str | None:
        token = self._token()
        if token is None or token.kind != "sign" or token.text not in _OPERATORS:
            return None
        self._next += 1
        return token.text

    def _token(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _looks_at(self, text: str) -> bool:
        token = self._token()
        return token is not None and token.kind in {"sign", "word"} and token.text == text

    def _took(self, text: str) -> bool:
        is_there = self._looks_at(text)
        self._next += is_there
        return is_there

    def _need(self, text: str) -> None:
        if not self._took(text):
            raise self._mistake(f"{text!r}")

    def _mistake(self, expected: str) -> UserError:
        token = self._token()
        rest = "the end" if token is None else repr(shortened(self._text[token.place :], 30))
        return UserError(f"where: {expected} should stand before {rest}")


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    end = len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            raise UserError(
                f"where: {shortened(text[place:], 30)!r} cannot be read; write comparisons "
                "(< <= > >= == !=), and, or, not, in, and names with other characters than "
                "letters, digits, _ and . in `backquotes`"
            )
        group = str(match.lastgroup)
        is_word = group == "name" and match[group] in _WORDS
        kind = "word" if is_word else _KINDS.get(group, group)
        found.append(_Token(kind, match[group], match.start(group)))
        place = match.end()
    return found
