"""The small language of ``where``: comparisons of properties, joined by and, or, not.

    bulk_modulus_gpa > 200 and (crystal_system == "cubic" or 0.5 <= band_gap_ev < 2)

    condition   = all_of { "or" all_of }
    all_of      = negatable { "and" negatable }
    negatable   = "not" negatable | "(" condition ")" | comparison
    comparison  = operand { operator operand }- | operand [ "not" ] "in" list
    list        = "(" operand { "," operand } ")"
    operand     = name | `name` | number | "text" | 'text'

An expression is parsed into the classes of ``search.conditions`` and nothing else: it cannot call,
import or reach anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from omnimat.base.errors import UserError
from omnimat.base.words import shortened
from omnimat.search.conditions import (
    OPERATORS,
    Comparison,
    Condition,
    Name,
    Not,
    Operand,
    all_of,
    any_of,
)

MAX_CHARACTERS = 10_000
_MAX_DEPTH = 50
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


def parse(text: str) -> Condition:
    """Read an expression.

    Raises:
        UserError: it is none; the message says where reading ended.
    """
    if len(text) > MAX_CHARACTERS:
        raise UserError(f"where: an expression has at most {MAX_CHARACTERS} characters")
    return _Parser(text).whole()


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
        if token is None or token.kind != "sign" or token.text not in OPERATORS:
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
