"""Tells which element stands on a site, from its type symbol or else its label."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from omnimat.formats.crystals import ATOMIC_NUMBERS, ISOTOPES

_KNOWN = frozenset(ATOMIC_NUMBERS) | ISOTOPES
# Fe3+, O2-, Cl-, Fe+3, Fe2.5+, and labels in the place of symbols: Fe1.
_TYPE = re.compile(r"([A-Za-z]{1,2})(?:\d*\.?\d*[+-]|[+-]\d+|\d+)?")
# Oxygens that stand for a water or a hydroxyl, and the hydrogens that they imply.
_WATERS = {"WAT": 2, "H2O": 2, "HOH": 2, "D2O": 2, "OW": 2, "OH": 1, "O-H": 1, "HO": 1}
_WATER = re.compile(r"(Wat|H2O|HOH|D2O|OW|O-?H|HO)(?![A-Za-z])", re.IGNORECASE)
# NH4, SO4, CN, HDO: a label that looks like this one is a group, not an atom.
_GROUP = re.compile(r"(?:(?:Cl|[HDCNOSP])\d*){2,}")


@dataclass(frozen=True, slots=True)
class Species:
    """What stands on a site.

    Attributes:
        symbol: symbol of the element.
        is_isotope: whether it was written as deuterium or tritium.
        num_hydrogens: how many hydrogens without coordinates the name implies.
    """

    symbol: str
    is_isotope: bool = False
    num_hydrogens: int = 0


@functools.lru_cache(maxsize=4096)
def species_of(type_symbol: str, formula_elements: frozenset[str]) -> Species:
    """Read a type symbol.

    Args:
        type_symbol: what stands in ``_atom_site_type_symbol``, with or without a charge.
        formula_elements: the elements of the file's formula, which decide what capitals mean
            (``CO`` is cobalt only where the formula has cobalt).

    Raises:
        ValueError: it is no element; the message names it.
    """
    parts = _TYPE.fullmatch(type_symbol)
    if parts is None:
        return _water(type_symbol)
    letters = parts[1]
    if letters in _KNOWN:
        return _of_symbol(letters)
    return _in_another_case(letters, formula_elements) or _water(type_symbol)


@functools.lru_cache(maxsize=65536)
def species_of_label(label: str, formula_elements: frozenset[str]) -> Species:
    """Read a label (``Cs1``, ``O2'``), which begins with the longest symbol in its right case.

    Where letters follow the symbol, the formula decides: ``CA1`` is calcium or carbon, whichever
    the formula has, and ``OA1`` is oxygen in any case.

    Raises:
        ValueError: it begins with no element, may be one of two, or is the name of a group.
    """
    letters = _leading_letters(label)
    if letters not in ATOMIC_NUMBERS and _WATER.match(label):
        return _in_another_case(letters, formula_elements, True) or _water(label)
    symbol = next((letters[:n] for n in (2, 1) if letters[:n] in _KNOWN), "")
    rest, capitals = letters[len(symbol) :], letters[:2].capitalize()
    candidates = [symbol] if symbol else []
    if letters[1:2].isupper() and capitals in ATOMIC_NUMBERS:
        candidates.append(capitals)
    if expected := [one for one in candidates if one in formula_elements]:
        return _of_symbol(expected[0])
    stem = re.sub(r"[^A-Za-z0-9].*$", "", label)
    if not candidates or candidates == ["T"] or (rest and _GROUP.fullmatch(stem)):
        raise _unknown(label)
    if len(candidates) > 1:
        raise ValueError(
            f"ambiguous species: {label[:40]!r} may be {' or '.join(candidates)}, and neither a "
            "type symbol nor the formula decides"
        )
    if rest and not rest.isupper():
        raise _unknown(label)
    return _of_symbol(candidates[0])


def _of_symbol(symbol: str) -> Species:
    return Species("H", is_isotope=True) if symbol in ISOTOPES else Species(symbol)


def _in_another_case(
    letters: str, formula_elements: frozenset[str], must_be_expected: bool = False
) -> Species | None:
    """Read ``FE`` or ``fe``; ``CO`` and the like only where the formula has such an element."""
    symbol = letters.capitalize()
    if symbol not in ATOMIC_NUMBERS:
        return None
    is_clear = len(symbol) == 1 or not all(one.upper() in _KNOWN for one in letters)
    is_read = symbol in formula_elements or (is_clear and not must_be_expected)
    return Species(symbol) if is_read else None


def _water(name: str) -> Species:
    """Return the oxygen of a water or hydroxyl.

    Raises:
        ValueError: it is none.
    """
    parts = _WATER.match(name)
    if parts is None:
        raise _unknown(name)
    return Species("O", num_hydrogens=_WATERS[parts[1].upper()])


def _leading_letters(text: str) -> str:
    return re.sub(r"[^A-Za-z].*$", "", text, flags=re.DOTALL)


def _unknown(name: str) -> ValueError:
    return ValueError(f"unknown species: {name[:40]!r} is no element")
