"""The periodic table, coloured by how often each element occurs, or by the errors with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

SHADES = 10
MIN_COUNT = 5  # fewer materials say nothing of an element

# A line for each period, with lanthanides and actinides below; a dot is an empty place.
_LAYOUT = """
H  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  He
Li Be .  .  .  .  .  .  .  .  .  .  B  C  N  O  F  Ne
Na Mg .  .  .  .  .  .  .  .  .  .  Al Si P  S  Cl Ar
K  Ca Sc Ti V  Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y  Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I  Xe
Cs Ba .  Hf Ta W  Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn
Fr Ra .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .
.  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .
.  .  La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu .
.  .  Ac Th Pa U  Np Pu Am Cm Bk Cf .  .  .  .  .  .
"""


@dataclass(frozen=True, slots=True)
class Cell:
    """An element in its place.

    Attributes:
        symbol: the symbol of the element.
        row: the row, from 1; lanthanides are in row 9.
        column: the column, from 1.
        count: how many materials contain it.
        share: which share of all materials that is, 0 to 1.
        shade: the step on the colour scale; 0 if no material contains it.
    """

    symbol: str
    row: int
    column: int
    count: int
    share: float
    shade: int


def periodic_table(formulas: pd.Series[str]) -> list[Cell]:
    """Count in how many materials each element occurs."""
    counts = _contained(formulas).value_counts()
    most = int(counts.max()) if len(counts) else 1
    return [
        _cell(symbol, row, column, int(counts.get(symbol, 0)), len(formulas), most)
        for symbol, row, column in _places()
    ]


@dataclass(frozen=True, slots=True)
class ErrorCell:
    """An element in its place, with the error of the materials that contain it.

    Attributes:
        symbol: the symbol of the element.
        row: the row, from 1; lanthanides are in row 9.
        column: the column, from 1.
        count: how many materials contain it.
        error: their mean error; None where there are none.
        shade: the step on the colour scale; 0 where too few materials contain it.
    """

    symbol: str
    row: int
    column: int
    count: int
    error: float | None
    shade: int


def periodic_errors(formulas: pd.Series[str], errors: pd.Series[float]) -> list[ErrorCell]:
    """Average the errors of the materials that contain each element.

    Args:
        formulas: of materials.
        errors: of the same materials, with the same index.
    """
    symbols = _contained(formulas)
    groups = errors.reindex(symbols.index).groupby(symbols.to_numpy())
    counts = {str(symbol): int(count) for symbol, count in groups.size().items()}
    means = {str(symbol): float(mean) for symbol, mean in groups.mean().items()}
    most = max((means[symbol] for symbol in means if counts[symbol] >= MIN_COUNT), default=0.0)

    def shade(symbol: str) -> int:
        is_told = counts.get(symbol, 0) >= MIN_COUNT and most > 0
        return max(1, round(SHADES * means[symbol] / most)) if is_told else 0

    return [
        ErrorCell(symbol, row, column, counts.get(symbol, 0), means.get(symbol), shade(symbol))
        for symbol, row, column in _places()
    ]


def _contained(formulas: pd.Series[str]) -> pd.Series[str]:
    """Give the elements of each material, a line each, by the index of the materials."""
    return formulas.str.findall(r"[A-Z][a-z]?").map(set).explode().dropna()


def _places() -> Iterator[tuple[str, int, int]]:
    """Give each element with its row and column."""
    for row, line in enumerate(_LAYOUT.split("\n")[1:-1], start=1):
        for column, symbol in enumerate(line.split(), start=1):
            if symbol != ".":
                yield symbol, row, column


def _cell(symbol: str, row: int, column: int, count: int, total: int, most: int) -> Cell:
    # The root makes rare elements visible beside oxygen, which half of all materials contain.
    shade = max(1, round(SHADES * (count / most) ** 0.5)) if count else 0
    return Cell(symbol, row, column, count, count / max(total, 1), shade)
