"""Holds what a CIF says of its crystal as a whole against the atoms that were read from it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import gemmi

from omnimat.formats.cif.document import Block
from omnimat.formats.crystals import ATOMIC_NUMBERS, ISOTOPES

_FORMULA = "_chemical_formula_sum"
_UNITS = "_cell_formula_units_z"
_VOLUME = "_cell_volume"
_DENSITY = "_exptl_crystal_density_diffrn"
# Amounts may differ by a share, and by what formulas with two decimals leave away.
_AMOUNT_TOLERANCE, _AMOUNT_ROUNDING = 0.01, 0.006
_VOLUME_TOLERANCE = 0.01
_DENSITY_TOLERANCE = 0.02
# Mass of one atomic mass unit per cubic angstrom, in g/cm^3.
_G_PER_CM3 = 1.66053906660
_PART = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)(?:\(\d+\))?")
_BRACKET = re.compile(r"\(([A-Z][^()]*)\)(\d*\.?\d*)")


def formula_of(text: str | None) -> dict[str, float]:
    """Return the amounts of a formula sum, deuterium and tritium as hydrogen.

    Brackets that stand for mixed sites are read (``(Mg1.8 Fe.2) Si O4``). The result is empty where
    the formula is unknown or is more than a sum (``Fe2 O3, x H2 O``).
    """
    compact = re.sub(r"[\s'\"]", "", text or "")
    parts = [(_BRACKET.sub("", compact), "1"), *_BRACKET.findall(compact)]
    amounts: dict[str, float] = {}
    for sum_of_elements, times in parts[not parts[0][0] :]:
        if not re.fullmatch(f"(?:{_PART.pattern})+", sum_of_elements) or times == ".":
            return {}
        for symbol, amount in _PART.findall(sum_of_elements):
            symbol = "H" if symbol in ISOTOPES else symbol
            if symbol not in ATOMIC_NUMBERS or amount == ".":
                return {}
            more = float(amount or 1) * float(times or 1)
            amounts[symbol] = amounts.get(symbol, 0.0) + more
    return {symbol: amount for symbol, amount in amounts.items() if amount > 0}


def check_volume(block: Block, volume_angstrom3: float) -> None:
    """Compare the volume of the cell with ``_cell_volume``, within one per cent.

    Raises:
        ValueError: they differ.
    """
    stated = block.number(_VOLUME)
    allowed = _VOLUME_TOLERANCE * volume_angstrom3 + _last_digit(block.value(_VOLUME))
    if stated and abs(stated - volume_angstrom3) > allowed:
        raise ValueError(
            f"contradicting volume: the cell has {volume_angstrom3:.6g} angstrom^3, "
            f"{_VOLUME} is {stated:g}"
        )


def check_density(block: Block, cell: Mapping[str, float], volume_angstrom3: float) -> None:
    """Compare the density with ``_exptl_crystal_density_diffrn``, within two per cent.

    The measured density (``_exptl_crystal_density_meas``) is not that of a perfect crystal, and is
    not compared.

    Raises:
        ValueError: they differ.
    """
    stated = block.number(_DENSITY)
    mass = sum(gemmi.Element(symbol).weight * amount for symbol, amount in cell.items())
    density = mass * _G_PER_CM3 / volume_angstrom3
    allowed = _DENSITY_TOLERANCE * density + _last_digit(block.value(_DENSITY))
    if stated and abs(stated - density) > allowed:
        raise ValueError(
            f"contradicting density: the atoms give {density:.4g} g/cm^3, {_DENSITY} is {stated:g}"
        )


def missing_hydrogens(formula: Mapping[str, float], cell: Mapping[str, float]) -> str | None:
    """Say whether the formula has more hydrogen than the sites; None if not."""
    if "H" not in formula:
        return None
    units = _units(formula, cell)
    expected, found = formula["H"] * units, cell.get("H", 0.0)
    if found >= expected - _allowed(expected, units):
        return None
    return f"the formula has {expected:g} in a cell, the sites have {found:g}"


def check_composition(
    block: Block, formula: Mapping[str, float], cell: Mapping[str, float]
) -> list[str]:
    """Compare the atoms of a cell with the formula and the number of its units.

    Hydrogens that the formula lacks altogether are passed over with a note; those that the sites
    lack are the matter of ``missing_hydrogens``.

    Args:
        block: a data block.
        formula: amounts in the formula sum, by symbol; empty where it is not known.
        cell: amounts in the cell, by symbol.

    Returns:
        Notes on what was passed over.

    Raises:
        ValueError: they contradict each other.
    """
    if not formula:
        return []
    units = _units(formula, cell)
    for symbol in (set(formula) | set(cell)) - {"H"}:
        _compare(symbol, formula.get(symbol, 0.0) * units, cell.get(symbol, 0.0), units)
    _check_units(block, formula, units)
    if "H" not in cell:
        return []
    if "H" not in formula:
        return ["the formula in the file lacks the hydrogens"]
    expected = formula["H"] * units
    if cell["H"] > expected:
        _compare("H", expected, cell["H"], units)
    return []


def _units(formula: Mapping[str, float], cell: Mapping[str, float]) -> float:
    """Return how many formulas the cell holds, by all atoms but hydrogens if there are others."""
    heavy = set(formula) - {"H"} or set(formula)
    return sum(cell.get(one, 0.0) for one in heavy) / sum(formula[one] for one in heavy)


def _allowed(expected: float, units: float) -> float:
    return _AMOUNT_TOLERANCE * expected + _AMOUNT_ROUNDING * units


def _compare(symbol: str, expected: float, found: float, units: float) -> None:
    if abs(found - expected) > _allowed(expected, units):
        raise ValueError(
            f"contradicting composition: the cell has {found:g} {symbol}, "
            f"by the formula in the file {expected:g}"
        )


def _check_units(block: Block, formula: Mapping[str, float], units: float) -> None:
    """Compare the number of formula units with what the file says.

    pymatgen writes the formula of the whole cell and, beside it, by how much it can be divided.
    """
    stated = block.number(_UNITS)
    if not stated or abs(units - stated) <= _AMOUNT_TOLERANCE * stated:
        return
    divisor = math.gcd(*(round(amount) for amount in formula.values()))
    if abs(units - 1) <= _AMOUNT_TOLERANCE and divisor % stated == 0:
        return
    raise ValueError(
        f"contradicting formula units: the atoms make up {units:g} in a cell, "
        f"the file says {stated:g}"
    )


def _last_digit(text: str | None) -> float:
    """Return one unit of the last digit of a number."""
    decimals = len((text or "").partition("(")[0].partition(".")[2])
    return float(10.0**-decimals)
